"""What happens when the loss is no number any more."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from hookline.config.checks import check_choice, check_number
from hookline.engine import Hook, Priority, Runner

log = logging.getLogger(__name__)

ACTIONS = ("stop", "rollback")


class NonFiniteLossHook(Hook):
    """End the run as `diverged`, or go back, once a training loss or `val/loss` was NaN or infinite.

    It reads the run's sum of losses, in which such a loss leaves its mark, at an interval and at the end of an epoch,
    so it waits for the device only then. To leave out single updates whose loss is not finite, use
    `update.skip_nonfinite=true`, which leaves no mark.

    Args:
        action: `stop` ends the run with the status `diverged`; `rollback` goes on from the newest checkpoint, with the
            learning rate lowered by `factor` from there on.
        interval: iterations between two looks.
        factor: what the learning rate is multiplied with at each rollback, in (0, 1).
        max_rollbacks: so many; after them the run ends as `diverged`.
    """

    # After the schedules have set the learning rate, and after the loss was added to the sums.
    priority = Priority.BELOW_NORMAL
    others_wait = True  # while the first one reads a checkpoint

    def __init__(self, action: str = "stop", interval: int = 50, factor: float = 0.5, max_rollbacks: int = 3) -> None:
        check_choice("action", action, ACTIONS)
        check_number("interval", interval, gt=0, integer=True)
        check_number("factor", factor, gt=0, lt=1)
        check_number("max_rollbacks", max_rollbacks, gt=0, integer=True)
        self.action = action
        self.interval = interval
        self.factor = factor
        self.max_rollbacks = max_rollbacks
        self._rollbacks = 0

    def before_train_iter(self, runner: Runner) -> None:
        if self._rollbacks:
            for group in runner.optimizer.param_groups:
                group["lr"] = group["lr"] * self.factor**self._rollbacks

    def after_train_iter(self, runner: Runner) -> None:
        if runner.clock.due(self.interval):
            self._look(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        self._look(runner)

    def after_record(self, runner: Runner) -> None:
        if not math.isfinite(runner.recorded.get("val/loss", 0.0)):
            self._act(runner)

    def between_updates(self, runner: Runner) -> None:
        if self._rewind_due:
            self._rewind_due = False
            self._go_back(runner)

    # Whether the run goes back once this iteration is over.
    _rewind_due = False

    def _look(self, runner: Runner) -> None:
        if not math.isfinite(runner.sums.total("train/loss")[0]):
            self._act(runner)

    def _act(self, runner: Runner) -> None:
        if runner.stop_training:
            return
        if self.action == "rollback" and self._rollbacks < self.max_rollbacks:
            self._rewind_due = True
        else:
            runner.stop("the loss is not finite", "diverged")

    def _go_back(self, runner: Runner) -> None:
        state = runner.processes.of_first(runner.newest_state())
        if state is None:
            runner.stop("the loss is not finite, and there is no checkpoint to go back to", "diverged")
            return
        self._rollbacks += 1
        log.warning(
            "the loss is not finite: back to iteration %d, learning rate times %g",
            state["parts"]["clock"]["iter"],
            self.factor**self._rollbacks,
        )
        # The state that is loaded has fewer rollbacks.
        state["parts"][f"hooks.{self.name}"] = self.state_dict()
        runner.rewind(state)

    def state_dict(self) -> dict[str, Any]:
        return {"rollbacks": self._rollbacks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rollbacks = state["rollbacks"]
