"""A batch of samples, as loaders give it and as the model, the metrics and the hooks see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
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
        whole: where several processes share a batch, how many samples it has in all of them; None where one process has
            all, and in a micro-batch.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor
    weights: Tensor | None = None
    whole: int | None = None

    def __len__(self) -> int:
        return self.targets.shape[0]

    def split(self, parts: int, *, keep_empty: bool = False) -> list[Batch]:
        """Return the batch in at most `parts` parts of nearly equal size; the empty ones are left out unless kept."""
        pieces = zip(
            self.images.tensor_split(parts),
            self.targets.tensor_split(parts),
            self.indices.tensor_split(parts),
            [None] * parts if self.weights is None else self.weights.tensor_split(parts),
            strict=True,
        )
        return [Batch(*piece) for piece in pieces if keep_empty or len(piece[1])]

    def first(self, samples: int) -> Batch:
        """Return the first so many samples."""
        weights = None if self.weights is None else self.weights[:samples]
        return Batch(self.images[:samples], self.targets[:samples], self.indices[:samples], weights)


def share(samples: int, rank: int, processes: int) -> slice:
    """Return which of a batch's samples are a process's: contiguous, the first processes' shares one larger if need be.

    With fewer samples than processes the last ones' shares are empty.
    """
    size, more = divmod(samples, processes)
    start = rank * size + min(rank, more)
    return slice(start, start + size + (rank < more))


def shape_of(size: Sequence[int]) -> str:
    """Return a size as people write it, such as `1x28x28`."""
    return "x".join(map(str, size))


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on the device; the copy to a GPU is queued there, and nothing waits for it."""
    # Out of pinned memory alone does the GPU copy by itself.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
