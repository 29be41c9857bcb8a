"""Validation after epochs."""

from __future__ import annotations

from hookline.config.checks import check_number
from hookline.engine import Hook, Priority, Runner


class EvaluationHook(Hook):
    """Measure the model on the validation set every `interval` epochs and at the end of training.

    The numbers, such as `val/top1`, go to the history; those of an average of the weights beside them, as
    `val_<name>/top1`.

    Args:
        interval: epochs between evaluations.
    """

    priority = Priority.BELOW_NORMAL

    def __init__(self, interval: int = 1) -> None:
        check_number("interval", interval, gt=0, integer=True)
        self.interval = interval

    def after_train_epoch(self, runner: Runner) -> None:
        clock = runner.clock
        last = clock.iter >= clock.max_iters or runner.stop_training
        if last or (clock.epoch + 1) % self.interval == 0:
            runner.evaluate()
            for name, model in runner.averages.items():
                runner.evaluate(model, f"val_{name}")
