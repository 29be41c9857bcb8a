"""The images of a loader as pictures: what the model sees, with the normalisation taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hookline.data import Batch, Loader, Normalize
from hookline.data.transforms import Transform

# Classes of a mixed sample that are told, the largest share first.
TOLD = 2


@dataclass(frozen=True)
class View:
    """One sample as the model sees it.

    Attributes:
        index: its number in the source.
        image: `[H, W]` or `[H, W, 3]`, with values in [0, 1].
        shares: the share of each class that it has, by the number of the class, the largest first.
    """

    index: int
    image: np.ndarray
    shares: dict[int, float]


def views_of(loader: Loader, transforms: Mapping[str, Transform], epoch: int, count: int, start: int = 0) -> list[View]:
    """Return `count` samples of an epoch of the loader from batch `start` on; its batched transforms are given."""
    found: list[View] = []
    for batch in loader.batches(epoch, start):
        pictures = pictures_of(denormalized(batch.images, transforms))
        for number in range(min(len(batch), count - len(found))):
            found.append(View(int(batch.indices[number]), pictures[number], _shares(batch, number)))
        if len(found) == count:
            break
    return found


def denormalized(images: Tensor, transforms: Mapping[str, Transform]) -> Tensor:
    """Return images with values in [0, 1] as they were before the last `Normalize` of the transforms."""
    for transform in reversed(list(transforms.values())):
        if isinstance(transform, Normalize):
            std, mean = (torch.tensor(values).view(-1, 1, 1) for values in (transform.std, transform.mean))
            return images.cpu() * std + mean
    return images.cpu()


def pictures_of(images: Tensor | Sequence[Tensor]) -> list[np.ndarray]:
    """Return images `[C, H, W]`, uint8 or in [0, 1], as a picture each; other than three channels are averaged."""
    found = []
    for image in images:
        values = image.float() / 255 if image.dtype == torch.uint8 else image.float()
        values = values.permute(1, 2, 0) if len(values) == 3 else values.mean(dim=0)
        found.append(values.clamp(0, 1).numpy())
    return found


def _shares(batch: Batch, number: int) -> dict[int, float]:
    target = batch.targets[number]
    if target.ndim == 0:
        return {int(target): 1.0}
    largest = target.topk(min(TOLD, len(target)))
    pairs = zip(largest.indices.tolist(), largest.values.tolist(), strict=True)
    return {label: share for label, share in pairs if share > 0}
