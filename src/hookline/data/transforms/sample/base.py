"""What a per-sample transform is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode

from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ParameterError

# Of a side: an image of this size takes 800 MB.
MOST_PIXELS = 16_384
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


class SampleTransform:
    """Base class of the transforms that act on one image, before a batch is made of it.

    Several threads call one transform at once, so a call changes nothing of the object. What it draws comes from the
    generator that it is given and from no other one: so what happens to a sample depends on neither the thread nor what
    was drawn before.

    Attributes:
        draws: whether it takes random numbers; the transforms of validation images may not.
    """

    draws: bool = True

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        """Return the transformed image, uint8 `[C, H', W']`, of one that is uint8 `[C, H, W]` and stays as it is."""
        raise NotImplementedError


def check_size(name: str, size: object) -> tuple[int, int]:
    """Return a size as height and width, or raise `ParameterError` where it is neither a number nor a pair of them."""
    sides: Sequence[Any] = size if isinstance(size, list | tuple) else [size, size]
    if len(sides) != 2:
        raise ParameterError(name, size, "a number of pixels, or height and width as a list")
    for side in sides:
        check_number(name, side, gt=0, le=MOST_PIXELS, integer=True)
    return sides[0], sides[1]


def height_and_width(image: Tensor) -> tuple[int, int]:
    """Return the size of an image in pixels."""
    return image.shape[-2], image.shape[-1]


def check_range(
    name: str, bounds: Sequence[float], *, gt: float | None = None, ge: float | None = None
) -> tuple[float, float]:
    """Return two numbers, or raise `ParameterError` unless they are within the limits, the smaller one first."""
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        raise ParameterError(name, list(bounds), "two numbers, the smaller one first")
    for bound in bounds:
        check_number(name, bound, gt=gt, ge=ge)
    return bounds[0], bounds[1]


def check_fill(name: str, fill: Sequence[float] | None) -> None:
    """Raise `ParameterError` unless `fill` is null or a colour, a number in [0, 1] for each channel."""
    for value in fill or ():
        check_number(name, value, ge=0, le=1)


def colour_of(fill: Sequence[float] | None, channels: int) -> list[int]:
    """Return the pixel of a colour, a number in [0, 1] for each channel, as uint8; None is black."""
    if fill is None:
        return [0] * channels
    if len(fill) not in (1, channels):
        raise ParameterError("fill", list(fill), f"a number for each of the image's {channels} channels")
    return [round(255 * value) for value in fill] * (channels if len(fill) == 1 else 1)


def interpolation_mode(name: str) -> InterpolationMode:
    """Return torchvision's interpolation of this name."""
    check_choice("interpolation", name, INTERPOLATIONS)
    # The other `nearest` of torchvision repeats an error of old versions of OpenCV.
    return InterpolationMode.NEAREST_EXACT if name == "nearest" else InterpolationMode(name)
