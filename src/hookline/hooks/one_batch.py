"""One batch again and again: a model that can learn at all learns it by heart."""

from __future__ import annotations

import logging

from torch.nn import functional as F

from hookline.config.checks import check_number
from hookline.data.batch import Batch
from hookline.engine import Hook, Priority, Runner

log = logging.getLogger(__name__)


class OneBatchHook(Hook):
    """Train on the run's first batch alone, as it was augmented then, until its cross-entropy is near zero.

    The cross-entropy is the plain one of the logits, whatever the training loss is, which label smoothing keeps from
    zero. Reading it in each iteration waits for the device.

    Args:
        loss: the run ends once the cross-entropy is below.
    """

    # Before all that look at the batch.
    priority = Priority.HIGHEST

    def __init__(self, loss: float = 0.01) -> None:
        check_number("loss", loss, gt=0)
        self.loss = loss
        self._batch: Batch | None = None
        self._reached = float("nan")

    def before_train_iter(self, runner: Runner) -> None:
        if self._batch is None:
            self._batch = runner.batch
        runner.batch = self._batch

    def after_train_iter(self, runner: Runner) -> None:
        batch = runner.batch
        samples = len(batch) if batch.whole is None else batch.whole
        logits = runner.processes.whole(runner.outputs["logits"].detach().float(), samples)
        targets = runner.processes.whole(batch.targets, samples)
        self._reached = float(F.cross_entropy(logits, targets))
        if self._reached < self.loss:
            done = runner.clock.iter + 1
            runner.stop(f"the batch is learnt: cross-entropy {self._reached:.3g} after {done} updates")

    def after_run(self, runner: Runner) -> None:
        if runner.status == "completed":
            log.warning(
                "one batch: its cross-entropy is still %.3g after %d updates. Look at the images and labels"
                " (scripts/show_data.py), the learning rate (scripts/find_lr.py), what is frozen and dropout",
                self._reached,
                runner.clock.iter,
            )
