"""Batches out of tensors: an index, then the batched transforms. No workers, no per-sample Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hookline.data.transforms.batched import Transform

Batch = tuple[Tensor, Tensor]


class TensorLoader:
    """Iterate over a labelled set of images that lies on one device.

    The order of the samples is a function of (seed, epoch), and what the random transforms do to a sample one of
    (seed, epoch, sample): neither depends on the batch size, the device or what ran before.

    Args:
        images: uint8, `[N, C, H, W]`.
        labels: int64, `[N]`, on the same device.
        batch_size: samples in a batch; the last one of an epoch may be smaller.
        transforms: batched transforms, applied in the order given.
        shuffle: visit the samples in a new random order each epoch.
        drop_last: leave out a last batch that is smaller than the others.
        seed: of shuffling and augmentation.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        batch_size: int,
        transforms: Sequence[Transform] = (),
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        self.images = images
        self.labels = labels
        self.batch_size = batch_size
        self.transforms = list(transforms)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration belongs to."""
        self.epoch = epoch

    def __len__(self) -> int:
        count = len(self.images)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        count, device = len(self.images), self.images.device
        # Drawn on the CPU, so that an epoch is the same on every device, and whole, so that row i belongs to sample i.
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch))
        order = (torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)).to(device)
        draws = sum(t.draws for t in self.transforms)
        uniform = torch.rand(count, draws, generator=generator).to(device)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            index = order[start : start + self.batch_size]
            images = self.images.index_select(0, index)
            mine = uniform.index_select(0, index)
            at = 0
            for transform in self.transforms:
                images = transform(images, mine[:, at : at + transform.draws])
                at += transform.draws
            yield images, self.labels.index_select(0, index)


def epoch_seed(seed: int, epoch: int) -> int:
    """Return a seed for an epoch's random numbers: distinct for every pair with `epoch` below a million."""
    return seed * 1_000_003 + epoch
