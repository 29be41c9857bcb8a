"""Validation after each epoch, and the best so far."""

from __future__ import annotations

import math

from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from hookline.config.checks import check_choice, check_number
from hookline.engine import Runner
from hookline.engine.hook import Hook, Priority


class EvaluationHook(Hook):
    """Run the validation set every `interval` epochs and after the last one.

    Adds to `runner.metrics.latest`: `val/loss`, the mean cross-entropy in nats without label smoothing or class
    weights, so that runs compare whatever their training loss; `val/top1` and `val/top5`, in percent of all samples
    (top-k is over min(k, classes)). Where other weights than the model's are evaluated, the names begin with
    `runner.val_name` instead of `val`. Keeps `runner.best`: the numbers of the epoch that did best by `monitor`.

    Args:
        interval: epochs between evaluations.
        monitor: the number that decides which epoch is best.
        rule: `max` or `min`: which end of it is good.
    """

    priority = Priority.BELOW_NORMAL

    def __init__(self, interval: int = 1, monitor: str = "val/top1", rule: str = "max") -> None:
        check_number("interval", interval, gt=0, integer=True)
        check_choice("monitor", monitor, [f"{v}/{n}" for v in ("val", "val_ema") for n in ("top1", "top5", "loss")])
        check_choice("rule", rule, ["max", "min"])
        self.interval = interval
        self.monitor = monitor
        self.rule = rule

    def after_train_epoch(self, runner: Runner) -> None:
        last = runner.iter >= runner.max_iters or runner.stop_training
        if last or (runner.epoch + 1) % self.interval == 0:
            runner.val_epoch()

    def before_val_epoch(self, runner: Runner) -> None:
        self._loss = MeanMetric(nan_strategy="disable").to(runner.device)
        self._accuracy: dict[int, MulticlassAccuracy] = {}

    def after_val_iter(self, runner: Runner) -> None:
        logits, labels = runner.outputs["logits"].float(), runner.batch[1]
        self._loss.update(cross_entropy(logits, labels, reduction="none"))
        if not self._accuracy:
            classes = logits.shape[1]
            self._accuracy = {
                k: MulticlassAccuracy(
                    num_classes=classes, top_k=min(k, classes), average="micro", validate_args=False
                ).to(runner.device)
                for k in (1, 5)
            }
        for accuracy in self._accuracy.values():
            accuracy.update(logits, labels)

    def after_val_epoch(self, runner: Runner) -> None:
        name = runner.val_name
        numbers = {f"{name}/loss": self._loss.compute().item()}
        for k, accuracy in self._accuracy.items():
            numbers[f"{name}/top{k}"] = round(100 * accuracy.compute().item(), 4)
        runner.metrics.latest |= numbers
        if self.monitor not in numbers:  # another evaluation decides
            if runner.best.get("epoch") == runner.epoch + 1:
                runner.best |= numbers
            return
        new, old = numbers[self.monitor], runner.best.get(self.monitor)
        better = old is None or math.isnan(old) or (new > old if self.rule == "max" else new < old)
        if better:
            earlier = {key: value for key, value in runner.metrics.latest.items() if key.startswith("val/")}
            runner.best = {**earlier, **numbers, "epoch": runner.epoch + 1}
