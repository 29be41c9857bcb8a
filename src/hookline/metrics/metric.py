"""What a metric is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor


class Labelled(Protocol):
    """What a metric needs of a batch: `hookline.data.Batch` has it.

    Attributes:
        targets: the labels, int64 `[B]`.
        weights: how much each sample counts, float32 `[B]`; None: each counts once.
    """

    targets: Tensor
    weights: Tensor | None


@runtime_checkable
class Metric(Protocol):
    """Numbers that sum up a pass over samples.

    A metric keeps what it needs on the device and does not read it before `compute`. A sample of weight 0 does not
    count. Nothing of training is needed: `evaluate` calls it for the runner, for an average of the weights and for the
    evaluation of a finished run alike.
    """

    def reset(self) -> None:
        """Forget all samples."""
        ...

    def update(self, outputs: Mapping[str, Tensor], batch: Labelled) -> None:
        """Take in a batch: `outputs["logits"]` is `[B, classes]`, `batch.targets` the labels `[B]`."""
        ...

    def compute(self) -> dict[str, float]:
        """Return the numbers by name, such as `{"top1": 93.2}`."""
        ...
