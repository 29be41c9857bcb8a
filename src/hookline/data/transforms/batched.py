"""Batched transforms: one call works on a whole batch, with random draws of its own for every sample.

torchvision's v2 transforms applied to a batch draw once for all of it, and one sample at a time they cost a Python
call each; these do neither. A transform takes images `[B, C, H, W]` (uint8, or float after `Normalize`) and, if it is
random, uniform numbers in [0, 1) of shape `[B, draws]`: the caller makes those, so what happens to a sample is a
function of its own numbers and of nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hookline.config.checks import check_number
from hookline.config.errors import ParameterError

# How many pixels a CPU's cache surely holds as float32: 4 MB.
IN_CACHE = 1 << 20


class Transform:
    """Base class of batched transforms.

    Attributes:
        draws: uniform numbers that one sample takes; 0 for a transform without randomness.
    """

    draws: int = 0

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Return the transformed batch; `uniform` has shape `[B, draws]` and lies where the images lie."""
        raise NotImplementedError


class RandomCrop(Transform):
    """Pad all sides with black, then cut the original size out at a random place (He et al., 2015, section 4.2).

    Args:
        padding: pixels added to each side.
    """

    draws = 2

    def __init__(self, padding: int = 4) -> None:
        check_number("padding", padding, gt=0, integer=True)
        self.padding = padding

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        batch, channels, height, width = images.shape
        padded = F.pad(images, [self.padding] * 4)
        offset = (uniform * (2 * self.padding + 1)).long()
        # Rows of the crops, as starting points in the flat padded batch: copying whole rows is several times as fast
        # as indexing pixel by pixel.
        rows = torch.arange(height, device=images.device)
        planes = torch.arange(batch * channels, device=images.device).view(batch, channels, 1)
        starts = (planes * padded.shape[2] + offset[:, 0].view(-1, 1, 1) + rows) * padded.shape[3]
        starts = starts + offset[:, 1].view(-1, 1, 1)
        windows = padded.as_strided((padded.numel() - width + 1, width), (1, 1))
        return windows.index_select(0, starts.flatten()).view(images.shape)


class RandomHorizontalFlip(Transform):
    """Mirror left and right with probability `p`."""

    draws = 1

    def __init__(self, p: float = 0.5) -> None:
        check_number("p", p, ge=0, le=1)
        self.p = p

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        batch = len(images)
        pick = torch.arange(batch, device=images.device) + (uniform[:, 0] < self.p) * batch
        return torch.cat([images, images.flip(-1)]).index_select(0, pick)


class Resize(Transform):
    """Resize to `size` x `size` pixels, bilinear and with antialiasing when it shrinks."""

    def __init__(self, size: int) -> None:
        check_number("size", size, gt=0, integer=True)
        self.size = size

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        return F.interpolate(images.float(), (self.size, self.size), mode="bilinear", antialias=True)


class Normalize(Transform):
    """Map uint8 pixels to `(x / 255 - mean) / std` in float32, channel by channel.

    Args:
        mean: per channel, for pixels in [0, 1].
        std: per channel, for pixels in [0, 1].
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        check_channels("mean", mean)
        check_channels("std", std)
        if len(mean) != len(std):
            raise ParameterError("std", list(std), f"as many numbers as the mean has, {len(mean)}")
        self.mean = list(mean)
        self.std = list(std)
        # One multiplication and one addition: x / (255 std) - mean / std.
        self._scale = torch.tensor([1 / (255 * s) for s in self.std]).view(-1, 1, 1)
        self._shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)]).view(-1, 1, 1)

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        if self._scale.device != images.device:
            self._scale, self._shift = self._scale.to(images.device), self._shift.to(images.device)
        if images.device.type != "cpu" or images.numel() <= IN_CACHE:
            return images.to(torch.float32, copy=True).mul_(self._scale).add_(self._shift)
        # In parts that stay in the cache between the steps: two thirds of the time for 64 images of 224x224.
        result = torch.empty(images.shape, dtype=torch.float32)
        count = max(1, IN_CACHE // images.shape[1:].numel())
        for part, pixels in zip(result.split(count), images.split(count), strict=True):
            part.copy_(pixels).mul_(self._scale).add_(self._shift)
        return result


def check_channels(name: str, values: object) -> None:
    """Raise `ParameterError` unless `values` has, for each channel, what a `mean` or a `std` of pixels can be."""
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ParameterError(name, values, "a list with a number for each channel, or null")
    for value in values:
        if name == "std":
            check_number(name, value, gt=0)
        else:
            check_number(name, value, ge=0, le=1)
