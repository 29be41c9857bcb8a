"""Schedules before training: every value of a run, computed by the functions that training calls.

Neither torch nor data, model or GPU is touched. `compute` returns the values; the `write_*` functions put them where a
person looks at them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

from hookline.config.files import replacing
from hookline.schedules import Clock, Curve, Fixed, WarmUp
from hookline.schedules.build import build_schedule, for_groups


class _NeverBetter(dict[str, float]):
    """An epoch's numbers in which every metric is there and none improves: what a preview shows to `Plateau`."""

    def __missing__(self, name: str) -> float:
        return 0.0

    def __contains__(self, name: object) -> bool:
        return True


NEVER_BETTER = _NeverBetter()

# TensorBoard itself keeps 1,000 points of a curve; the peaks of more are kept by choosing, not by chance.
TENSORBOARD_POINTS = 2000


@dataclass
class Preview:
    """The values of a whole run: each series has one value per iteration, from iteration 0.

    Attributes:
        clock: the start of the run.
        lr: the learning rate of every parameter group, by column name (`lr_0`, ..., or `lr_<name>`).
        momentum: the momentum of every group (`momentum_0`, ...); empty for an optimizer without.
        warmup_end: the first iteration after the learning rate's warm-up; 0 for none.
    """

    clock: Clock
    lr: dict[str, list[float]]
    momentum: dict[str, list[float]] = field(default_factory=dict)
    warmup_end: int = 0

    @property
    def columns(self) -> dict[str, list[float]]:
        """All series by column name."""
        return {**self.lr, **self.momentum}


def compute(
    lr_schedule: Mapping[str, Any],
    clock: Clock,
    base_lr: Sequence[float],
    *,
    momentum_schedule: Mapping[str, Any] | None = None,
    base_momentum: Sequence[float] = (),
    names: Sequence[str] | None = None,
) -> Preview:
    """Return the values of a whole run.

    Args:
        lr_schedule: the config node of the learning rate's schedule.
        clock: the start of the run, which says how long it is.
        base_lr: the base learning rate of every parameter group.
        momentum_schedule: the config node of the momentum's; none, or one without `_target_`, keeps it constant.
        base_momentum: the base momentum of every group; empty for an optimizer without.
        names: the groups' names, for the columns; their numbers if not given.
    """
    schedule = build_schedule(lr_schedule, "lr_schedule", clock)
    preview = Preview(
        clock,
        lr=_series(schedule, "lr", clock, base_lr, names),
        warmup_end=min(schedule.end, clock.max_iters) if isinstance(schedule, WarmUp) else 0,
    )
    if momentum_schedule is not None and momentum_schedule.get("_target_") is not None:
        momentum = build_schedule(momentum_schedule, "momentum_schedule", clock, "momentum")
    else:
        momentum = Fixed()
    preview.momentum = _series(momentum, "momentum", clock, base_momentum, names)
    return preview


def values(curve: Curve, base_value: float, clock: Clock) -> list[float]:
    """Return the curve's value at every iteration of the clock's run."""
    # One clock moved in place, as the runner does.
    moving = clock.at(0)
    found = []
    for epoch in range(clock.max_epochs):
        moving.epoch = epoch
        curve.observe([NEVER_BETTER] * epoch)
        first = epoch * clock.iters_per_epoch
        for moving.iter in range(first, min(first + clock.iters_per_epoch, clock.max_iters)):
            found.append(curve(base_value, moving))
    return found


def _series(
    schedule: Curve, quantity: str, clock: Clock, bases: Sequence[float], names: Sequence[str] | None
) -> dict[str, list[float]]:
    done: dict[tuple[int, float], list[float]] = {}
    curves = for_groups(schedule, f"{quantity}_schedule", len(bases), quantity)
    series = {}
    for name, curve, base in zip(names or range(len(bases)), curves, bases, strict=False):
        # Groups with one curve and one base value are computed once: a layer-wise decay has dozens.
        if (id(curve), base) not in done:
            done[id(curve), base] = values(curve, base, clock)
        series[f"{quantity}_{name}"] = done[id(curve), base]
    return series


def write_csv(path: Path, preview: Preview) -> None:
    """Write `iter, epoch` (from 0) and every series in full precision: reading them back gives the same bits."""
    clock = preview.clock
    texts: dict[int, list[str]] = {}  # groups that share their values share the text of them
    for series in preview.columns.values():
        if id(series) not in texts:
            texts[id(series)] = list(map(repr, series))
    count = clock.max_iters
    epochs = (text for epoch in range(clock.max_epochs) for text in repeat(str(epoch), clock.iters_per_epoch))
    columns: list[Iterable[str]] = [texts[id(series)] for series in preview.columns.values()]
    rows = map(",".join, zip(map(str, range(count)), epochs, *columns, strict=False))
    with replacing(path) as beside:
        beside.write_text(",".join(["iter", "epoch", *preview.columns]) + "\n" + "\n".join(rows) + "\n")


def write_tensorboard(directory: Path, preview: Preview) -> None:
    """Write the series as a TensorBoard run, tags `learning_rate/<group>` and `momentum/<group>`, steps from 0.

    Long runs are thinned out to about 2,000 points that keep every peak and step; the CSV has every value.
    """
    from hookline.charts.lr_curve import decimate
    from hookline.loggers.event_file import EventFile

    tags = {f"learning_rate/{name.removeprefix('lr_')}": series for name, series in preview.lr.items()}
    tags |= {f"momentum/{name.removeprefix('momentum_')}": series for name, series in preview.momentum.items()}
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
