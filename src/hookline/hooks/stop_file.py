"""Ending a run from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hookline.engine import Hook, Priority, Runner
from hookline.job import stop_reason


class StopFileHook(Hook):
    """End the run in order after an epoch by whose end there is a file `stop` in its run directory.

    A search ends so what its pruner has given up. The first line of the file is the reason that the run tells.
    """

    priority = Priority.LOW
    # A run that is under way can be given it, or lose it.
    watches = True

    def before_run(self, runner: Runner) -> None:
        self._runner = runner

    def after_record(self, runner: Runner) -> None:
        self._look(runner)

    def _look(self, runner: Runner) -> None:
        if not runner.stop_training and (reason := stop_reason(runner.work_dir)) is not None:
            runner.stop(reason)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        # A run that was interrupted after it had been told to end does not go on.
        self._look(self._runner)
