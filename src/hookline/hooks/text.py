"""What a person watching the run sees."""

from __future__ import annotations

import logging
from shutil import get_terminal_size
from time import perf_counter

from tqdm import tqdm

from hookline.config.checks import check_number
from hookline.engine import Runner, Window
from hookline.engine.hook import Hook, Priority
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

    Epochs and iterations count from 1 here. The LR is the first parameter group's, as the latest update used it. The
    interval's lines are in `train.log` in either case.

    Args:
        interval: iterations between the lines.
        refresh: seconds between two looks of the bar.
    """

    priority = Priority.VERY_LOW

    def __init__(self, interval: int = 100, refresh: float = 0.2) -> None:
        check_number("interval", interval, gt=0, integer=True)
        check_number("refresh", refresh, gt=0)
        self.interval = interval
        self.refresh = refresh
        self._bar: tqdm | None = None

    def before_run(self, runner: Runner) -> None:
        self._window = Window(runner.metrics)
        self._start, self._first = perf_counter(), runner.iter
        self.every = 1 if shows_bar() else self.interval
        if shows_bar():
            self._next = self._start
            # A pseudo-terminal may have no size, which tqdm takes for no room at all.
            self._bar = tqdm(total=runner.max_iters, leave=False, ncols=80, nrows=24, bar_format="{bar:20}| {desc}")

    def after_train_iter(self, runner: Runner) -> None:
        done = runner.clock.iter + 1
        if done % self.interval == 0:
            log.log(logging.DEBUG if self._bar else logging.INFO, self._status(runner, done))
            self._window.advance("train/loss", "time/iter", "time/data")
        if self._bar is not None and perf_counter() >= self._next:
            self._show(runner, done)

    def after_train_epoch(self, runner: Runner) -> None:
        latest, best = runner.metrics.latest, runner.best.get("epoch") == runner.epoch + 1
        shown = [text.format(latest[name]) for name, text in EPOCH_LINE.items() if name in latest]
        line = "  ".join([f"epoch {runner.epoch + 1}/{runner.max_epochs}", *shown])
        log.info(f"{line}  (best)" if best else line)

    def after_run(self, runner: Runner) -> None:
        if self._bar is not None:
            self._bar.close()

    def _status(self, runner: Runner, done: int) -> str:
        window = self._window
        elapsed = perf_counter() - self._start
        left = elapsed / (done - self._first) * (runner.max_iters - done)
        return (
            f"epoch {runner.epoch + 1}/{runner.max_epochs}  iter {done}/{runner.max_iters}"
            f"  loss {window.mean('train/loss'):.4f}  lr {runner.optimizer.param_groups[0]['lr']:.3g}"
            f"  {window.rate('train/loss', 'time/iter'):,.0f} images/s  eta {clock_time(left)}"
        )

    def _show(self, runner: Runner, done: int) -> None:
        assert self._bar is not None
        self._next = perf_counter() + self.refresh
        self._bar.ncols = get_terminal_size().columns - 1
        self._bar.n = done
        self._bar.set_description_str(self._status(runner, done))
