"""A batch of samples, as loaders give it and as the model, the metrics and the hooks see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(slots=True)
class Batch:
    """Samples that are processed together, on the run's device.

    Attributes:
        images: `[B, C, H, W]`, float32, normalised.
        targets: the labels, int64 `[B]`; or after mixing the share of each class, float32 `[B, classes]`.
        indices: which samples of the source they are, int64 `[B]`.
        weights: how much each sample counts in metrics, float32 `[B]`: 0 for one that only fills up the batch. None:
            each counts once.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        return self.targets.shape[0]

    def split(self, parts: int) -> list[Batch]:
        """Return the batch in at most `parts` parts of nearly equal size, none of them empty."""
        pieces = zip(
            self.images.tensor_split(parts),
            self.targets.tensor_split(parts),
            self.indices.tensor_split(parts),
            [None] * parts if self.weights is None else self.weights.tensor_split(parts),
            strict=True,
        )
        return [Batch(*piece) for piece in pieces if len(piece[1])]


def shape_of(size: Sequence[int]) -> str:
    """Return a size as people write it, such as `1x28x28`."""
    return "x".join(map(str, size))
