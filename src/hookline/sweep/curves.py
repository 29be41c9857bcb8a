"""Curves of the points of a sweep: a mean over the seeds, and the band between the lowest and the highest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hookline.charts.lr_curve import decimate
from hookline.sweep.outcomes import Outcome, read_columns

LR = "learning rate"

# A curve has about as many points as it has pixels; of many curves, fewer each, so that the page stays small.
MOST_POINTS = 400
FEWEST_POINTS = 40
ALL_POINTS = 400_000

Line = tuple[np.ndarray, np.ndarray]


def curves_of(points: Sequence[Sequence[Outcome]], names: Sequence[str]) -> dict[str, list[dict[str, Any] | None]]:
    """Return the curves of each number and of the learning rate against the epoch, one for each point in their order.

    A curve is `x`, `mean`, and `low` and `high` where there is more than one seed, each a list of numbers. Between the
    epochs at which a seed was measured it is taken as straight; beyond its last one, the mean is that of the others.
    A point of which nothing was measured has None. Long curves are thinned so that no peak or step is lost.

    Args:
        points: the jobs of each point.
        names: columns of the tables of the jobs.
    """
    most = min(MOST_POINTS, max(FEWEST_POINTS, ALL_POINTS // max(1, len(points) * (len(names) + 1))))
    found = {name: [_band([_measured(job, name) for job in jobs], most) for jobs in points] for name in names}
    return {name: curves for name, curves in found.items() if any(curves)} | {
        LR: [_band([_learning_rate(job) for job in jobs], most) for jobs in points]
    }


def _measured(outcome: Outcome, name: str) -> Line:
    """Return epochs and values of a column of the job's table, [rows] each."""
    return _line(_epochs(outcome.history), outcome.history.get(name, []))


def _learning_rate(outcome: Outcome) -> Line:
    """Return epochs and learning rate of each iteration next to which it changes, or of each epoch while it runs."""
    table = read_columns(outcome.job, "lr_curve.csv")
    rates = [np.array(values) for name, values in table.items() if name.startswith("lr_")]
    if not rates:
        return _line(_epochs(outcome.history), outcome.history.get("lr", []))
    later = [iteration / epoch for iteration, epoch in zip(table["iter"], table["epoch"], strict=True) if epoch > 0]
    per_epoch = _iters_per_epoch(outcome.history) or min(later, default=table["iter"][-1] + 1)
    # Of several groups the largest is drawn, as in the table.
    return _line(np.array(table["iter"]) / per_epoch, np.max(rates, axis=0))


def _line(x: Any, y: Any) -> Line:
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(x) != len(y):
        return np.empty(0), np.empty(0)
    known = np.isfinite(x) & np.isfinite(y)
    return x[known], y[known]


def _epochs(history: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Return how many epochs were done by each row, parts of them included."""
    per_epoch = _iters_per_epoch(history)
    return np.array(history.get("iterations", [])) / per_epoch if per_epoch else np.empty(0)


def _iters_per_epoch(history: Mapping[str, Sequence[float]]) -> float:
    pairs = zip(history.get("iterations", []), history.get("epoch", []), strict=False)
    # A row in the middle of an epoch carries the epoch's number, but fewer iterations than it has.
    return max((iterations / epoch for iterations, epoch in pairs if epoch > 0), default=0.0)


def _band(lines: Sequence[Line], most: int) -> dict[str, Any] | None:
    """Return mean, lowest and highest of the lines wherever one of them has a point."""
    lines = [line for line in lines if len(line[0])]
    if not lines:
        return None
    x = np.unique(np.concatenate([line[0] for line in lines]))
    values = np.array([np.interp(x, *line, left=math.nan, right=math.nan) for line in lines])
    counts = np.isfinite(values).sum(axis=0)
    x, values = x[counts > 0], values[:, counts > 0]
    mean = np.nanmean(values, axis=0)
    index, _ = decimate(mean, most)
    curve: dict[str, Any] = {"x": _short(x[index]), "mean": _short(mean[index])}
    if len(lines) > 1:
        curve["low"] = _short(np.nanmin(values, axis=0)[index])
        curve["high"] = _short(np.nanmax(values, axis=0)[index])
    return curve


def _short(numbers: np.ndarray) -> list[float]:
    """Return the numbers with the digits that a chart shows."""
    return [float(f"{number:.6g}") for number in numbers]
