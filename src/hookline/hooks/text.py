"""What a person watching the run sees."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from tqdm import tqdm

from hookline.config.checks import check_number
from hookline.engine import Hook, Priority, Runner, Window
from hookline.loggers.console import Part, clock_time, columns, fitted, shows_bar
from hookline.loggers.streams import CLEAR_LINE
from hookline.optim.group_values import base_lr

log = logging.getLogger(__name__)

# What an epoch's line shows of its numbers, and how.
EPOCH_LINE = {
    "lr": "lr {:.3g}",
    "train/loss": "train/loss {:.4f}",
    "val/loss": "val/loss {:.4f}",
    "val/top1": "val/top1 {:.2f}",
    "val/top5": "val/top5 {:.2f}",
    "val_ema/top1": "val_ema/top1 {:.2f}",
    "throughput/images_per_second": "{:,.0f} images/s",
    "time/epoch": "{:.1f} s",
    "time/data_share": "waiting for data {:.0f} %",
}

# What a narrow terminal does without, first of all the first; the number that decides which epoch is best stays.
LEFT_OUT = (
    "time/data_share",
    "throughput/images_per_second",
    "val/top5",
    "lr",
    "time/epoch",
    "val/loss",
    "train/loss",
)
KEPT = len(LEFT_OUT)

# The terminal shows Ctrl-C as two letters behind the bar: were the line full, they would break it in two.
CTRL_C = 2


class TextHook(Hook):
    """One line per epoch; between them a progress bar on a terminal, or a line at an interval elsewhere.

    Epochs and iterations count from 1 here. The learning rate is that of the group `base`, or the largest where there
    is none, as the latest update used it. A terminal that is too narrow gets the most important numbers; the lines in
    `train.log`, those of the interval too, always have all.

    Args:
        interval: iterations between the lines.
        refresh: seconds between two looks of the bar.
    """

    priority = Priority.VERY_LOW
    watches = True
    first_only = True

    def __init__(self, interval: int = 100, refresh: float = 0.2) -> None:
        check_number("interval", interval, gt=0, integer=True)
        check_number("refresh", refresh, gt=0)
        self.interval = interval
        self.refresh = refresh
        self._bar: tqdm | None = None

    def before_run(self, runner: Runner) -> None:
        self._window = Window(runner.sums)
        self._start = self._next = perf_counter()
        if shows_bar():
            # A pseudo-terminal may have no size, which tqdm takes for no room at all.
            total = runner.clock.max_iters
            self._bar = tqdm(total=total, leave=False, ncols=80, nrows=24, bar_format="{bar:10}| {desc}")

    def after_train_iter(self, runner: Runner) -> None:
        done = runner.clock.iter + 1
        if done % self.interval == 0:
            log.log(logging.DEBUG if self._bar else logging.INFO, fitted(self._status(runner, done)))
            self._window.advance()
        if self._bar is not None and perf_counter() >= self._next:
            self._show(runner, done)

    def after_record(self, runner: Runner) -> None:
        row, new, monitor = runner.history[-1], runner.recorded, runner.monitor
        parts = [(KEPT, f"epoch {row['epoch']:g}/{runner.clock.max_epochs}")]
        for name, text in (EPOCH_LINE | {monitor: EPOCH_LINE.get(monitor, f"{monitor} {{:.4g}}")}).items():
            if name in new:
                importance = LEFT_OUT.index(name) if name in LEFT_OUT and name != monitor else KEPT
                parts.append((importance, text.format(new[name])))
        if monitor in new and runner.best.get("iterations") == row["iterations"]:
            parts.append((KEPT, "(best)"))
        log.info(fitted(parts), extra={"parts": parts})

    def after_run(self, runner: Runner) -> None:
        if self._bar is not None:
            self._bar.close()
            print(CLEAR_LINE, end="", file=sys.stderr, flush=True)

    def _status(self, runner: Runner, done: int) -> list[Part]:
        clock, window = runner.clock, self._window
        elapsed = perf_counter() - self._start
        left = elapsed / (done - runner.first_iter) * (clock.max_iters - done)
        return [
            (3, f"epoch {clock.epoch + 1}/{clock.max_epochs}"),
            (2, f"iter {done}/{clock.max_iters}"),
            (4, f"loss {window.mean('train/loss'):.4f}"),
            (1, f"lr {base_lr(runner.optimizer):.3g}"),
            (0, f"{window.rate('train/loss', 'time/iter'):,.0f} images/s"),
            (5, f"eta {clock_time(left)}"),
        ]

    def _show(self, runner: Runner, done: int) -> None:
        assert self._bar is not None
        self._next = perf_counter() + self.refresh
        width = columns() - CTRL_C
        length = width // 8
        self._bar.ncols = width
        self._bar.bar_format = f"{{bar:{length}}}| {{desc}}"
        self._bar.n = done
        self._bar.set_description_str(fitted(self._status(runner, done), width - length - len("| ")))

    def state_dict(self) -> dict[str, Any]:
        return {"window": self._window.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._window.load_state_dict(state["window"])
