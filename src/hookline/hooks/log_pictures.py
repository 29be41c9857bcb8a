"""Sheets of images for the sinks: what training sees, and what validation gets wrong."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from hookline.charts.contact_sheet import Row, draw_contact_sheet, shortened
from hookline.config.checks import check_number
from hookline.config.files import replacing
from hookline.data.pictures import denormalized, pictures_of
from hookline.engine import Hook, Priority, Runner
from hookline.loggers.sinks import Sinks

log = logging.getLogger(__name__)

COLUMNS = 8


@dataclass(frozen=True)
class Mistake:
    """A sample that the model takes for another class.

    Attributes:
        loss: its cross-entropy.
        label: its class.
        prediction: the class that it is taken for.
        probability: the model's for that.
        image: `[H, W]` or `[H, W, 3]`, with values in [0, 1].
    """

    loss: float
    label: int
    prediction: int
    probability: float
    image: np.ndarray


class LogPicturesHook(Hook):
    """Draw sheets of images into the run's folder `pictures`, and hand them to the sinks.

    Args:
        sinks: those of the run.
        augmented: so many images of the run's first batch, as the model sees them; 0 for no sheet.
        misclassified: so many images after each validation, those with the highest cross-entropy among the ones that
            are taken for another class; 0 for no sheet.
    """

    # Before the hook that hands over the numbers, and with an average's validation after the run's own.
    priority = Priority.VERY_LOW
    watches = True
    first_only = True

    def __init__(self, sinks: Sinks, augmented: int = 0, misclassified: int = 0) -> None:
        check_number("augmented", augmented, ge=0, integer=True)
        check_number("misclassified", misclassified, ge=0, integer=True)
        self.sinks = sinks
        self.augmented = augmented
        self.misclassified = misclassified
        self._worst: list[Mistake] = []
        self._before: set[str] = set()
        # What the next row is about, by the name of the sheet.
        self._found: dict[str, list[Mistake]] = {}

    def before_train_iter(self, runner: Runner) -> None:
        if self.augmented and runner.clock.iter == 0:
            batch, classes = runner.batch, runner.train_loader.source.classes
            images = batch.images[: self.augmented].detach()
            targets = batch.targets[: self.augmented]
            labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
            pictures = pictures_of(denormalized(images.float(), getattr(runner.train_loader, "transforms", {})))
            captions = [shortened(str(classes[label])) for label in labels.tolist()]
            self._draw(runner, "augmented", "augmented", pictures, captions, "the first batch, as the model sees it", 0)

    def before_val_epoch(self, runner: Runner) -> None:
        self._worst, self._before = [], set(runner.numbers)

    def after_val_iter(self, runner: Runner) -> None:
        if not self.misclassified:
            return
        batch = runner.batch
        logits = runner.outputs["logits"].detach().float()
        losses = F.cross_entropy(logits, batch.targets, reduction="none")
        predictions = logits.argmax(dim=1)
        wrong = (predictions != batch.targets) & losses.isfinite()
        if batch.weights is not None:
            wrong &= batch.weights > 0
        losses = losses.where(wrong, -math.inf)
        worst = losses.topk(min(self.misclassified, len(losses))).indices
        worst = worst[wrong[worst]]
        probabilities = logits[worst].softmax(dim=1).amax(dim=1)
        assert runner.val_loader is not None
        transforms = getattr(runner.val_loader, "transforms", {})
        images = pictures_of(denormalized(batch.images[worst].detach().float(), transforms))
        values = (v.tolist() for v in (losses[worst], batch.targets[worst], predictions[worst], probabilities))
        found = [Mistake(*row) for row in zip(*values, images, strict=True)]
        self._worst = sorted(self._worst + found, key=lambda mistake: -mistake.loss)[: self.misclassified]

    def after_val_epoch(self, runner: Runner) -> None:
        if self._worst:
            # An average of the weights is validated as val_<its name>.
            new = next((name for name in runner.numbers if name not in self._before), "val/")
            self._found["misclassified" + new.partition("/")[0].removeprefix("val")] = self._worst

    def after_record(self, runner: Runner) -> None:
        found, self._found = self._found, {}
        classes, done = runner.train_loader.source.classes, runner.clock.iter
        for name, worst in found.items():
            title = f"validation's worst mistakes after {done} iterations: the label, and what it is taken for"
            captions = [told(mistake, classes) for mistake in worst]
            images = [mistake.image for mistake in worst]
            self._draw(runner, name, f"{name}_{done}", images, captions, title, max(0, done - 1))

    def _draw(
        self,
        runner: Runner,
        name: str,
        file: str,
        images: Sequence[np.ndarray],
        captions: Sequence[str],
        title: str,
        step: int,
    ) -> None:
        starts = range(0, len(images), COLUMNS)
        rows = [Row("", images[start : start + COLUMNS], captions[start : start + COLUMNS]) for start in starts]
        path = runner.work_dir / "pictures" / f"{file}.png"
        try:
            with replacing(path) as beside, torch.random.fork_rng(devices=[]):
                draw_contact_sheet(beside, rows, title)
        except OSError as error:  # such as a full disk, which must not end the training
            log.warning("%s could not be written: %s", path.name, error.strerror or error)
            return
        self.sinks.each(lambda sink: sink.picture(f"pictures/{name}", path, step))


def told(mistake: Mistake, classes: Sequence[str]) -> str:
    """Return what stands above a mistake: the label, and below it what it is taken for, with the probability."""
    taken = shortened(str(classes[mistake.prediction]), 10)
    return f"{shortened(str(classes[mistake.label]))}\n→ {taken} {mistake.probability:.2f}"
