"""Schedules before training: every value of a run, computed by the functions that training calls.

Neither torch nor data, model or GPU is touched. `compute` returns the values; the `write_*` functions put them where a
person looks at them.
"""

from __future__ import annotations

import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from math import isfinite
from pathlib import Path

from hookline.config.errors import ConfigError
from hookline.config.files import replacing
from hookline.optim.group_curves import DRIVEN_FROM_ZERO, curves_of_groups
from hookline.schedules import Clock, Curve, WarmUp
from hookline.schedules.quantities import tag_of


class _NeverBetter(dict[str, float]):
    """An epoch's numbers in which every metric is there and none improves: what a preview shows to `Plateau`."""

    def __missing__(self, name: str) -> float:
        return 0.0

    def __contains__(self, name: object) -> bool:
        return True


NEVER_BETTER = _NeverBetter()

# TensorBoard itself keeps 1,000 points of a curve; the peaks of more are kept by choosing, not by chance.
TENSORBOARD_POINTS = 2000

# Rows of the table that are made text at a time, so that a long run needs little memory.
ROWS = 10_000


@dataclass
class Preview:
    """The values of a whole run: each series has one value per iteration, from iteration 0.

    Attributes:
        clock: the start of the run.
        series: by field (`lr`, `momentum`, ...), the values of every parameter group by the group's name.
        warmup_end: the first iteration after the learning rate's warm-up; 0 for none.
    """

    clock: Clock
    series: dict[str, dict[str, list[float]]]
    warmup_end: int = 0

    @property
    def lr(self) -> dict[str, list[float]]:
        """The learning rate of every parameter group by its name."""
        return self.series["lr"]

    @property
    def columns(self) -> dict[str, list[float]]:
        """All series by column name: `lr_<group>`, `momentum_<group>`, ..."""
        return {f"{field}_{name}": values for field, groups in self.series.items() for name, values in groups.items()}

    @property
    def tags(self) -> dict[str, list[float]]:
        """All series by the tags that training gives them: `learning_rate/<group>`, `momentum/<group>`, ..."""
        return {
            f"{tag_of(field)}/{name}": values
            for field, groups in self.series.items()
            for name, values in groups.items()
        }


def compute(
    schedules: Mapping[str, Curve],
    clock: Clock,
    base_values: Mapping[str, Mapping[str, float]],
    measured: Sequence[int] | None = None,
) -> Preview:
    """Return the values of a whole run.

    Args:
        schedules: the curves by the field that each drives (`lr`, `momentum`, ...), ready for a run of this length; a
            field without one keeps its base value.
        clock: the start of the run, which says how long it is.
        base_values: by field, the base value of every parameter group by the group's name.
        measured: the numbers of finished iterations at which a metric is measured, for a schedule that follows one; at
            the end of each epoch if not given.
    """
    lr = schedules["lr"]
    return Preview(
        clock,
        series={
            field: _series(schedules[field], field, clock, groups, measured)
            if field in schedules
            else {name: [base] * clock.max_iters for name, base in groups.items()}
            for field, groups in base_values.items()
        },
        warmup_end=min(lr.end, clock.max_iters) if isinstance(lr, WarmUp) else 0,
    )


def values(curve: Curve, base_value: float, clock: Clock, measured: Sequence[int] | None = None) -> list[float]:
    """Return the curve's value at every iteration of the clock's run; `measured` as in `compute`."""
    epochs = range(0, clock.max_iters, clock.iters_per_epoch)
    measured = epochs[1:] if measured is None else measured
    # One clock moved in place, as the runner does, from one change of the epoch or of the history to the next.
    history: list[_NeverBetter] = []
    moving = clock.at(0, history)
    stops = sorted({*epochs, *(iteration for iteration in measured if iteration < clock.max_iters)})
    found = []
    for first, end in pairwise([*stops, clock.max_iters]):
        moving.epoch = first // clock.iters_per_epoch
        history.extend(repeat(NEVER_BETTER, bisect_right(measured, first) - len(history)))
        for moving.iter in range(first, end):
            found.append(curve(base_value, moving))
    return found


def _series(
    schedule: Curve, field: str, clock: Clock, bases: Mapping[str, float], measured: Sequence[int] | None
) -> dict[str, list[float]]:
    done: dict[tuple[int, float], list[float]] = {}
    series = {}
    curves = curves_of_groups(schedule, field, len(bases))
    for (name, base), curve in zip(bases.items(), curves, strict=True):
        # Groups with one curve and one base value are computed once: a layer-wise decay has dozens.
        if (id(curve), base) not in done:
            # A group whose weight decay is 0 keeps it, as in training.
            constant = base == 0 and field not in DRIVEN_FROM_ZERO
            done[id(curve), base] = [base] * clock.max_iters if constant else values(curve, base, clock, measured)
            for iteration, value in enumerate(done[id(curve), base]):
                if not isfinite(value):
                    raise ConfigError(f"{field}_schedule: gives {value} in iteration {iteration}, counted from 0")
        series[name] = done[id(curve), base]
    return series


def write_csv(path: Path, preview: Preview) -> None:
    """Write `iter, epoch` (from 0) and every series in full precision: reading them back gives the same bits."""
    clock, columns = preview.clock, preview.columns
    distinct = {id(series): series for series in columns.values()}
    with replacing(path) as beside, beside.open("w") as file:
        file.write(",".join(["iter", "epoch", *columns]) + "\n")
        for start in range(0, clock.max_iters, ROWS):
            iters = range(start, min(start + ROWS, clock.max_iters))
            # Groups that share their values share the text of them.
            texts = {key: [*map(repr, series[start : iters.stop])] for key, series in distinct.items()}
            epochs = (str(i // clock.iters_per_epoch) for i in iters)
            rows = zip(map(str, iters), epochs, *(texts[id(series)] for series in columns.values()), strict=True)
            file.writelines(",".join(row) + "\n" for row in rows)


def write_tensorboard(directory: Path, preview: Preview) -> None:
    """Write the series as a TensorBoard run, with training's tags, steps from 0.

    Long runs are thinned out to about 2,000 points that keep every peak and step; the CSV has every value.
    """
    from hookline.charts.lr_curve import decimate
    from hookline.loggers.event_file import EventFile

    tags = preview.tags
    distinct = {id(series): series for series in tags.values()}.values()
    steps = sorted({int(i) for series in distinct for i in decimate(series, TENSORBOARD_POINTS)[0]})
    # TensorBoard reads a directory as one run: what an earlier preview left in it would be drawn on top.
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as fresh:
        file = EventFile(Path(fresh))
        for step in steps:
            file.write({tag: series[step] for tag, series in tags.items()}, step)
        file.close()
        for old in directory.glob("events.out.tfevents.*"):
            old.unlink()
        for new in Path(fresh).iterdir():
            shutil.move(new, directory / new.name)
