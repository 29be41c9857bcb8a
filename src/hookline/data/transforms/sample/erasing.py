"""Erasing a rectangle of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ParameterError
from hookline.data.transforms.sample.base import SampleTransform, check_fill, check_range, colour_of, height_and_width

Box = tuple[int, int, int, int]


class RandomErasing(SampleTransform):
    """Erase a rectangle of random area, shape and place (Zhong et al., 2017, arXiv:1708.04896).

    The rules are torchvision's: ten rectangles are tried, and if none is smaller than the image, nothing is erased. It
    acts on the pixels before they are normalised; with the mean colour, which becomes zero, that is what erasing with
    zeros afterwards gives, to within half a grey level.

    Args:
        p: probability.
        scale: smallest and largest area of the rectangle, as shares of the image.
        ratio: smallest and largest height divided by width.
        fill: colour, a number in [0, 1] for each channel; null: black; `noise`: pixels that are all random.
    """

    def __init__(
        self,
        p: float = 0.25,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        fill: Sequence[float] | str | None = None,
    ) -> None:
        check_number("p", p, ge=0, le=1)
        if scale[1] > 1:
            raise ParameterError("scale", list(scale), "shares of the image, at most 1")
        if isinstance(fill, str):
            check_choice("fill", fill, [None, "noise", "a list of numbers in [0, 1]"])
        else:
            check_fill("fill", fill)
        self.p = p
        self.scale = check_range("scale", scale, gt=0)
        self.ratio = check_range("ratio", ratio, gt=0)
        self.fill = fill

    def box(self, height: int, width: int, random: np.random.Generator) -> Box | None:
        """Draw top, left, height and width of the rectangle; None where nothing is to be erased."""
        if random.random() >= self.p:
            return None
        low, high = map(math.log, self.ratio)
        for _ in range(10):
            area = height * width * random.uniform(*self.scale)
            ratio = math.exp(random.uniform(low, high))
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if h < height and w < width:
                return int(random.integers(height - h + 1)), int(random.integers(width - w + 1)), h, w
        return None

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        box = self.box(*height_and_width(image), random)
        if box is None:
            return image
        top, left, height, width = box
        if isinstance(self.fill, str):
            noise = random.integers(0, 256, (image.shape[0], height, width), dtype=np.uint8)
            colour = torch.from_numpy(noise)
        else:
            colour = torch.tensor(colour_of(self.fill, image.shape[0]), dtype=torch.uint8).view(-1, 1, 1)
        image = image.clone()
        image[:, top : top + height, left : left + width] = colour
        return image
