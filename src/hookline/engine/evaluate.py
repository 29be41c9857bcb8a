"""One pass over a data set that measures and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from hookline.data.batch import Batch
from hookline.metrics import Metric


class Batches(Protocol):
    """Batches to evaluate: any loader (see `hookline.data.loader`) is one."""

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches."""
        ...


@torch.inference_mode()
def evaluate(forward: Callable[[Tensor], Tensor], loader: Batches, metrics: Sequence[Metric]) -> dict[str, float]:
    """Return the metrics of all samples of a loader, by name.

    It needs neither a runner nor an optimizer nor training data. The model's mode is the caller's: see
    `hookline.engine.forward.evaluating`.

    Args:
        forward: maps images `[B, C, H, W]` to logits `[B, classes]`.
        loader: the samples; each counts by its batch's `weights`.
        metrics: what to measure; two that give a number of the same name overwrite each other.
    """
    for metric in metrics:
        metric.reset()
    for batch in loader.batches(0):
        outputs = {"logits": forward(batch.images)}
        for metric in metrics:
            metric.update(outputs, batch)
    return {name: value for metric in metrics for name, value in metric.compute().items()}
