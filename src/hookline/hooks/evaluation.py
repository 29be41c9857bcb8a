"""Validation at an interval."""

from __future__ import annotations

from hookline.config.checks import check_bool, check_number
from hookline.engine import Hook, Priority, Runner


class EvaluationHook(Hook):
    """Measure the model on the validation set at an interval, and at the end of training.

    The numbers, such as `val/top1`, go to the history; those of an average of the weights beside them, as
    `val_<name>/top1`. A run that is ended as diverged is not measured again: its weights are of no use.

    Args:
        interval: epochs between evaluations.
        start: the first evaluation is after so many epochs; 0: before training. None: after the first interval.
        by_epoch: `interval` and `start` count epochs, else iterations.
    """

    priority = Priority.BELOW_NORMAL

    def __init__(self, interval: int = 1, start: int | None = None, by_epoch: bool = True) -> None:
        check_number("interval", interval, gt=0, integer=True)
        if start is not None:
            check_number("start", start, ge=0, integer=True)
        check_bool("by_epoch", by_epoch)
        self.interval = interval
        self.start = interval if start is None else start
        self.by_epoch = by_epoch

    def before_train_epoch(self, runner: Runner) -> None:
        if self.start == 0 and runner.clock.iter == 0:
            self._evaluate(runner)

    def after_train_iter(self, runner: Runner) -> None:
        done = runner.clock.iter + 1
        # The end of training is evaluated with its epoch's end.
        if not self.by_epoch and self._due(done) and done < runner.clock.max_iters:
            self._evaluate(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        clock = runner.clock
        if _diverged(runner):
            return
        last = clock.iter >= clock.max_iters or runner.stop_training
        due = self.by_epoch and self._due(clock.epoch + 1)
        if (last or due) and self._measured != clock.iter:
            self._evaluate(runner)

    def between_updates(self, runner: Runner) -> None:
        # A hook may have ended the run because of the epoch's row.
        if (
            runner.stop_training
            and not _diverged(runner)
            and runner.clock.position <= 0
            and self._measured != runner.clock.iter
        ):
            self._evaluate(runner)

    # After so many iterations was the last evaluation.
    _measured: int | None = None

    def _due(self, done: int) -> bool:
        return done >= self.start and (done - self.start) % self.interval == 0

    def _evaluate(self, runner: Runner) -> None:
        self._measured = runner.clock.iter
        runner.evaluate()
        for name, model in runner.averages.items():
            runner.evaluate(model, f"val_{name}")


def _diverged(runner: Runner) -> bool:
    return runner.stop_training and runner.stop_status == "diverged"
