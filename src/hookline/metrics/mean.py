"""Metrics that are a mean over samples."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hookline.config.checks import check_number
from hookline.metrics.metric import Labelled


class SampleMean(ABC):
    """The mean of one number of each sample, `sum(w_i x_i) / sum(w_i)`, NaN for no samples.

    It is summed up in float64, batch by batch on the samples' device. A subclass says what the number is.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._sum: Tensor | float = 0.0
        self._count: Tensor | float = 0.0

    def update(self, outputs: Mapping[str, Tensor], batch: Labelled) -> None:
        """Take in a batch."""
        values = self.of_samples(outputs["logits"], batch.targets).double()
        if batch.weights is None:
            self._sum = self._sum + values.sum()
            self._count = self._count + len(values)
        else:
            counted = batch.weights > 0  # 0 times infinity would not be 0
            self._sum = self._sum + (values * batch.weights).where(counted, 0.0).sum()
            self._count = self._count + batch.weights.double().sum()

    def mean(self) -> float:
        """Return the mean so far; waits for the device."""
        count = float(self._count)
        return float(self._sum) / count if count else math.nan

    @abstractmethod
    def of_samples(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the number of each sample: `[B]`."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Return the number by its name."""


class CrossEntropyLoss(SampleMean):
    """`loss`: the mean cross-entropy `-log softmax(logits)[target]` in nats.

    It has neither label smoothing nor class weights, so that runs compare whatever their training loss.
    """

    def of_samples(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each sample."""
        return cross_entropy(logits.float(), targets, reduction="none")

    def compute(self) -> dict[str, float]:
        """Return `loss`."""
        return {"loss": self.mean()}


class TopK(SampleMean):
    """`top<k>`: the share of samples whose label is among the k largest logits, in percent.

    With fewer than k classes every sample is right, as `k` then is all of them.

    Args:
        k: how many guesses count.
    """

    def __init__(self, k: int = 1) -> None:
        check_number("k", k, gt=0, integer=True)
        super().__init__()
        self.k = k

    def of_samples(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return 1 for each sample that is right, else 0."""
        guesses = logits.topk(min(self.k, logits.shape[1])).indices
        return (guesses == targets.unsqueeze(1)).any(dim=1).to(torch.float32)

    def compute(self) -> dict[str, float]:
        """Return `top<k>` in percent."""
        return {f"top{self.k}": 100 * self.mean()}
