"""The images of a loader as pictures: what the model sees, with the normalisation taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hookline.data import Batch, Loader
from hookline.data.pictures import denormalized, pictures_of
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


def _shares(batch: Batch, number: int) -> dict[int, float]:
    target = batch.targets[number]
    if target.ndim == 0:
        return {int(target): 1.0}
    largest = target.topk(min(TOLD, len(target)))
    pairs = zip(largest.indices.tolist(), largest.values.tolist(), strict=True)
    return {label: share for label, share in pairs if share > 0}
