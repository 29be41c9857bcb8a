"""Per-sample transforms that change size and place: crops, flips and what validation images go through."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ParameterError
from hookline.data.transforms.sample.base import (
    MOST_PIXELS,
    SampleTransform,
    check_fill,
    check_range,
    check_size,
    colour_of,
    height_and_width,
    interpolation_mode,
)

Box = tuple[int, int, int, int]

CROP_MODES = ("center", "squash", "border")
PADDINGS = ("constant", "reflect", "edge", "symmetric")


class RandomResizedCrop(SampleTransform):
    """Cut out a rectangle of random area, shape and place, and resize it (Szegedy et al., 2014, arXiv:1409.4842).

    The rules are torchvision's: ten rectangles are tried, and if none lies within the image, it is the largest one in
    the centre whose shape is allowed.

    Args:
        size: of the result, in pixels: a number, or height and width.
        scale: smallest and largest area of the rectangle, as shares of the image.
        ratio: smallest and largest width divided by height.
        interpolation: `nearest`, `bilinear` or `bicubic`; all but the first smooth where they shrink.
    """

    def __init__(
        self,
        size: int | Sequence[int] = 224,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
    ) -> None:
        self.size = check_size("size", size)
        self.scale = check_range("scale", scale, gt=0)
        self.ratio = check_range("ratio", ratio, gt=0)
        self.interpolation = interpolation_mode(interpolation)

    def box(self, height: int, width: int, random: np.random.Generator) -> Box:
        """Draw top, left, height and width of the rectangle."""
        low, high = map(math.log, self.ratio)
        for _ in range(10):
            area = height * width * random.uniform(*self.scale)
            ratio = math.exp(random.uniform(low, high))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(random.integers(height - h + 1)), int(random.integers(width - w + 1)), h, w
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
        return (height - h) // 2, (width - w) // 2, h, w

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        top, left, height, width = self.box(*height_and_width(image), random)
        crop = image[:, top : top + height, left : left + width]
        if crop.stride(-1) == 1:  # planes that lie together are resized in two thirds of the time, the copy included
            crop = crop.contiguous()
        return F.resize(crop, list(self.size), interpolation=self.interpolation, antialias=True)


class RandomCrop(SampleTransform):
    """Pad all sides, then cut out a random place (He et al., 2015, arXiv:1512.03385, section 4.2).

    Args:
        size: of the result, in pixels: a number, or height and width; None: the image's own. An image that is too small
            is padded further, at both sides alike.
        padding: pixels added to each side.
        padding_mode: what they are: `constant` (black), `reflect`, `edge` or `symmetric`.
    """

    def __init__(
        self, size: int | Sequence[int] | None = None, padding: int = 4, padding_mode: str = "constant"
    ) -> None:
        check_number("padding", padding, ge=0, integer=True)
        check_choice("padding_mode", padding_mode, PADDINGS)
        self.size = None if size is None else check_size("size", size)
        self.padding = padding
        self.padding_mode = padding_mode

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        height, width = self.size or height_and_width(image)
        rows = max(self.padding, -((image.shape[-2] - height) // 2))
        columns = max(self.padding, -((image.shape[-1] - width) // 2))
        padded = F.pad(image, [columns, rows], padding_mode=self.padding_mode)
        top = int(random.integers(padded.shape[-2] - height + 1))
        left = int(random.integers(padded.shape[-1] - width + 1))
        return padded[:, top : top + height, left : left + width]


class RandomHorizontalFlip(SampleTransform):
    """Mirror left and right.

    Args:
        p: probability.
    """

    def __init__(self, p: float = 0.5) -> None:
        check_number("p", p, ge=0, le=1)
        self.p = p

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        return image.flip(-1) if random.random() < self.p else image


class RandomVerticalFlip(RandomHorizontalFlip):
    """Mirror top and bottom.

    Args:
        p: probability.
    """

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        return image.flip(-2) if random.random() < self.p else image


class Resize(SampleTransform):
    """Resize as timm does before it crops: to the size that the model sees, divided by the crop ratio.

    Args:
        size: what the model sees, in pixels: a number, or height and width.
        crop_pct: crop ratio: the share of the resized image that a centre crop of `size` keeps.
        crop_mode: `center`: the shorter side fits, and the shape stays; `squash`: both sides fit, and the shape
            changes; `border`: the longer side fits, the shape stays, and the crop adds borders.
        interpolation: `nearest`, `bilinear` or `bicubic`; all but the first smooth where they shrink.
    """

    draws = False

    def __init__(
        self,
        size: int | Sequence[int] = 224,
        crop_pct: float = 1.0,
        crop_mode: str = "center",
        interpolation: str = "bilinear",
    ) -> None:
        height, width = check_size("size", size)
        check_number("crop_pct", crop_pct, gt=0)
        check_choice("crop_mode", crop_mode, CROP_MODES)
        if max(height, width) / crop_pct > MOST_PIXELS:
            raise ParameterError("crop_pct", crop_pct, f"such that size / crop_pct is at most {MOST_PIXELS:,} pixels")
        self.target = math.floor(height / crop_pct), math.floor(width / crop_pct)
        self.crop_mode = crop_mode
        self.interpolation = interpolation_mode(interpolation)

    def size_of(self, height: int, width: int) -> list[int]:
        """Return what `torchvision.transforms.v2.functional.resize` takes as size for an image of this size."""
        if self.crop_mode == "squash":
            return list(self.target)
        if self.crop_mode == "center" and self.target[0] == self.target[1]:
            return [self.target[0]]  # torchvision's rule for the shorter side, which rounds differently
        ratios = height / self.target[0], width / self.target[1]
        ratio = min(ratios) if self.crop_mode == "center" else max(ratios)
        return [max(1, round(height / ratio)), max(1, round(width / ratio))]

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        size = self.size_of(*height_and_width(image))
        return F.resize(image, size, interpolation=self.interpolation, antialias=True)


class CenterCrop(SampleTransform):
    """Cut out the centre; an image that is too small is padded.

    Args:
        size: of the result, in pixels: a number, or height and width.
        fill: colour of the padding, a number in [0, 1] for each channel; null: black.
    """

    draws = False

    def __init__(self, size: int | Sequence[int] = 224, fill: Sequence[float] | None = None) -> None:
        self.size = check_size("size", size)
        check_fill("fill", fill)
        self.fill = fill

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        (height, width), (h, w) = image.shape[-2:], self.size
        if height < h or width < w:
            rows, columns = max(0, h - height), max(0, w - width)
            sides = [columns // 2, rows // 2, (columns + 1) // 2, (rows + 1) // 2]
            image = F.pad(image, sides, fill=[float(value) for value in colour_of(self.fill, image.shape[0])])
        return F.center_crop(image, list(self.size))
