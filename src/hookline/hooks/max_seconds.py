"""A limit on a run's time."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from hookline.config.checks import check_number
from hookline.engine import Hook, Priority, Runner


class MaxSecondsHook(Hook):
    """End the run after so many seconds of training, those before an interruption included.

    Args:
        seconds: the limit; it is kept to within an iteration, an evaluation and a checkpoint.
    """

    priority = Priority.LOW
    # So that a run that is under way can be given a limit, or lose it.
    watches = True

    def __init__(self, seconds: float) -> None:
        check_number("seconds", seconds, gt=0)
        self.seconds = seconds
        self._before = 0.0

    def before_run(self, runner: Runner) -> None:
        self._start = perf_counter()

    def after_train_iter(self, runner: Runner) -> None:
        if self._passed() >= self.seconds and not runner.stop_training:
            runner.stop(f"{self.seconds:g} seconds are over")

    def _passed(self) -> float:
        return self._before + perf_counter() - self._start

    def state_dict(self) -> dict[str, Any]:
        return {"time/seconds": self._passed()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._before, self._start = state["time/seconds"], perf_counter()
