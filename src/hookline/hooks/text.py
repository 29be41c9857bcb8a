"""What a person watching the run sees."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from shutil import get_terminal_size
from time import perf_counter
from typing import Any

from tqdm import tqdm

from hookline.config.checks import check_number
from hookline.engine import Hook, Priority, Runner, Window
from hookline.loggers.console import clock_time, shows_bar

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
}


class TextHook(Hook):
    """One line per epoch; between them a progress bar on a terminal, or a line at an interval elsewhere.

    Epochs and iterations count from 1 here. The learning rate is the largest of the parameter groups', as the latest
    update used it. The interval's lines are in `train.log` in either case.

    Args:
        interval: iterations between the lines.
        refresh: seconds between two looks of the bar.
    """

    priority = Priority.VERY_LOW
    watches = True

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
            self._bar = tqdm(total=total, leave=False, ncols=80, nrows=24, bar_format="{bar:20}| {desc}")

    def after_train_iter(self, runner: Runner) -> None:
        done = runner.clock.iter + 1
        if done % self.interval == 0:
            log.log(logging.DEBUG if self._bar else logging.INFO, self._status(runner, done))
            self._window.advance()
        if self._bar is not None and perf_counter() >= self._next:
            self._show(runner, done)

    def after_record(self, runner: Runner) -> None:
        row, new = runner.history[-1], runner.recorded
        shown = [text.format(new[name]) for name, text in EPOCH_LINE.items() if name in new]
        line = "  ".join([f"epoch {row['epoch']:g}/{runner.clock.max_epochs}", *shown])
        is_best = runner.monitor in new and runner.best.get("iterations") == row["iterations"]
        log.info(f"{line}  (best)" if is_best else line)

    def after_run(self, runner: Runner) -> None:
        if self._bar is not None:
            self._bar.close()

    def _status(self, runner: Runner, done: int) -> str:
        clock, window = runner.clock, self._window
        elapsed = perf_counter() - self._start
        left = elapsed / (done - runner.first_iter) * (clock.max_iters - done)
        lr = max(float(group["lr"]) for group in runner.optimizer.param_groups)
        return (
            f"epoch {clock.epoch + 1}/{clock.max_epochs}  iter {done}/{clock.max_iters}"
            f"  loss {window.mean('train/loss'):.4f}  lr {lr:.3g}"
            f"  {window.rate('train/loss', 'time/iter'):,.0f} images/s  eta {clock_time(left)}"
        )

    def _show(self, runner: Runner, done: int) -> None:
        assert self._bar is not None
        self._next = perf_counter() + self.refresh
        self._bar.ncols = get_terminal_size().columns - 1
        self._bar.n = done
        self._bar.set_description_str(self._status(runner, done))

    def state_dict(self) -> dict[str, Any]:
        return {"window": self._window.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._window.load_state_dict(state["window"])
