"""Stopping when a number no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hookline.config.checks import check_number
from hookline.config.errors import ParameterError
from hookline.engine import Hook, Priority, Runner
from hookline.engine.monitor import is_better, mode_of
from hookline.schedules.clock import History


class EarlyStoppingHook(Hook):
    """End the run when a number of the history has not improved for a while.

    It follows from the history alone, so an interrupted run stops where an uninterrupted one would have.

    Args:
        monitor: the number; None for the run's own (`evaluation.monitor`).
        patience: rows with the number that may pass without an improvement.
        min_delta: by how much a row has to beat the best one before to count as an improvement.
        mode: `min` or `max`: which way is better. None: by the number's name.
    """

    priority = Priority.LOW
    # A run that is under way can be given it, or lose it.
    watches = True

    def __init__(
        self, monitor: str | None = None, patience: int = 5, min_delta: float = 0.0, mode: str | None = None
    ) -> None:
        check_number("patience", patience, gt=0, integer=True)
        check_number("min_delta", min_delta, ge=0)
        if monitor is not None:
            mode = mode_of(monitor, mode)
        elif mode is not None:
            raise ParameterError("mode", mode, "null where no monitor is given: evaluation.mode holds")
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.mode = mode

    def before_run(self, runner: Runner) -> None:
        self._runner = runner

    def after_record(self, runner: Runner) -> None:
        if (self.monitor or runner.monitor) in runner.recorded and not runner.stop_training:
            self._judge(runner)

    def _judge(self, runner: Runner) -> None:
        monitor = self.monitor or runner.monitor
        passed = self.rows_without_improvement(runner.history, monitor, self.mode or runner.monitor_mode)
        if passed >= self.patience:
            runner.stop(f"{monitor} has not improved {passed} times in a row")

    def rows_without_improvement(self, history: History, monitor: str, mode: str) -> int:
        """Return how many rows with the number have passed since the best one."""
        best, passed = None, 0
        for row in history:
            if monitor in row:
                if is_better(row[monitor], best, mode, self.min_delta):
                    best, passed = row[monitor], 0
                else:
                    passed += 1
        return passed

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        # A run that was interrupted after it had been stopped does not go on.
        self._judge(self._runner)
