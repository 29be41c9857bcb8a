"""Per-sample transforms."""

from __future__ import annotations

from numpy.random import Generator
from torch import Tensor


class SampleTransform:
    """Base class of transforms that work on one image.

    Attributes:
        draws: whether it takes random numbers.
    """

    draws: bool = True

    def __call__(self, image: Tensor, random: Generator) -> Tensor:
        """Return the transformed image, uint8 `[C, H', W']`, of one that is uint8 `[C, H, W]`."""
        raise NotImplementedError
