"""A chart of learning rate and momentum as training used them."""

from __future__ import annotations

import csv
import logging
from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer

from hookline.charts.lr_curve import draw_lr_curve
from hookline.config.files import replacing
from hookline.engine import Hook, Priority, Runner
from hookline.optim.group_values import group_names, momentum_field
from hookline.schedules import WarmUp

log = logging.getLogger(__name__)


class Trace:
    """A number of each iteration, kept as the iterations at which it changed and what it changed to."""

    def __init__(self) -> None:
        self.starts = array("q")
        self.values = array("d")
        self.last: float | None = None

    def note(self, iteration: int, value: float) -> None:
        """Take in the number of an iteration in which it is another than `last`; they come in their order."""
        self.starts.append(iteration)
        self.values.append(value)
        self.last = value

    def upto(self, iterations: int) -> np.ndarray:
        """Return the number of each of so many iterations, float64; NaN before the first that is known."""
        filled = np.full(iterations, np.nan)
        ends = [*self.starts[1:], iterations]
        for start, end, value in zip(self.starts, ends, self.values, strict=True):
            filled[start:end] = value
        return filled

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the trace as tensors."""
        return {
            "starts": torch.tensor(self.starts, dtype=torch.int64),
            "values": torch.tensor(self.values, dtype=torch.float64),
        }

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take up what `state_dict` gave."""
        self.starts, self.values = array("q", state["starts"].tolist()), array("d", state["values"].tolist())
        self.last = self.values[-1] if self.values else None


class LRCurveHook(Hook):
    """Keep every iteration's learning rate and momentum, and draw them into `lr_curve.png` at the end.

    The title is what the command line changed; a momentum that stays the same is left out. `lr_curve.csv` has the
    values, in rows of the iterations next to which one changes: straight lines through them are the whole curves.
    """

    priority = Priority.VERY_LOW
    watches = True
    first_only = True

    def __init__(self) -> None:
        self._lr: dict[str, Trace] = {}
        self._momentum: dict[str, Trace] = {}
        # What to read of which group, and where to note it: made anew when groups are added.
        self._readers: list[tuple[dict[str, Any], str, int | None, Trace]] = []
        self._groups = 0

    def before_run(self, runner: Runner) -> None:
        self._param_groups = runner.optimizer.param_groups

    def after_train_iter(self, runner: Runner) -> None:
        if len(self._param_groups) != self._groups:
            self._find_readers(runner.optimizer)
        iteration = runner.clock.iter
        for group, key, place, trace in self._readers:
            value = group[key] if place is None else group[key][place]
            if value != trace.last:
                trace.note(iteration, float(value))

    def _find_readers(self, optimizer: Optimizer) -> None:
        self._readers, self._groups = [], len(optimizer.param_groups)
        for name, group in zip(group_names(optimizer), optimizer.param_groups, strict=True):
            self._readers.append((group, "lr", None, self._lr.setdefault(name, Trace())))
            if (field := momentum_field(group)) is not None:
                self._readers.append((group, *field, self._momentum.setdefault(name, Trace())))

    def after_run(self, runner: Runner) -> None:
        if not self._lr:
            return
        try:
            self._draw(runner)
            self._write(runner)
        except OSError as error:  # such as a full disk, which must not make a failure of a finished run
            log.warning("lr_curve.png could not be written: %s", error.strerror or error)

    def _write(self, runner: Runner) -> None:
        iterations = runner.clock.iter
        traces = {f"lr_{name}": trace for name, trace in self._lr.items()}
        traces |= {f"momentum_{name}": trace for name, trace in self._momentum.items()}
        changes = {start for trace in traces.values() for start in trace.starts}
        rows = sorted(i for i in {0, iterations - 1, *changes, *(i - 1 for i in changes)} if 0 <= i < iterations)
        columns = [trace.upto(iterations)[rows].tolist() for trace in traces.values()]
        with replacing(runner.work_dir / "lr_curve.csv") as path, path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["iter", "epoch", *traces])
            writer.writerows(
                (i, i // runner.clock.iters_per_epoch, *values) for i, *values in zip(rows, *columns, strict=True)
            )

    def _draw(self, runner: Runner) -> None:
        iterations, schedule = runner.clock.iter, runner.schedules.get("lr")
        with replacing(runner.work_dir / "lr_curve.png") as path:
            draw_lr_curve(
                path,
                lr={name: trace.upto(iterations) for name, trace in self._lr.items()},
                momentum={name: trace.upto(iterations) for name, trace in self._momentum.items()},
                iters_per_epoch=runner.clock.iters_per_epoch,
                warmup_end=schedule.end if isinstance(schedule, WarmUp) else 0,
                title=" ".join(runner.job.overrides) or "all options at their defaults",
            )

    def state_dict(self) -> dict[str, Any]:
        return {
            "lr": {name: trace.state_dict() for name, trace in self._lr.items()},
            "momentum": {name: trace.state_dict() for name, trace in self._momentum.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for traces, given in ((self._lr, state["lr"]), (self._momentum, state["momentum"])):
            traces.clear()
            for name, trace in given.items():
                traces[name] = Trace()
                traces[name].load_state_dict(trace)
        self._groups = 0
