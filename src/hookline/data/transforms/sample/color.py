"""Per-sample transforms that change colours and sharpness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from hookline.config.checks import check_number
from hookline.config.errors import ParameterError
from hookline.data.transforms.sample.base import SampleTransform, check_range
from hookline.data.transforms.sample.pixels import solarize

# The order of these is the order of a draw, not that in which they are applied.
_ADJUST = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)


class ColorJitter(SampleTransform):
    """Change brightness, contrast, saturation and hue by random amounts, in random order, as torchvision does.

    Args:
        brightness: the factor is uniform in [max(0, 1 - brightness), 1 + brightness]; 0 leaves it as it is.
        contrast: the same.
        saturation: the same.
        hue: the shift is uniform in [-hue, hue], of the colour circle; at most 0.5. It takes as long as all the others.
        p: probability that anything is changed at all.
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        p: float = 1.0,
    ) -> None:
        for name, value in {"brightness": brightness, "contrast": contrast, "saturation": saturation}.items():
            check_number(name, value, ge=0)
        check_number("hue", hue, ge=0, le=0.5)
        check_number("p", p, ge=0, le=1)
        factors = [(max(0.0, 1 - amount), 1 + amount) for amount in (brightness, contrast, saturation)]
        self.ranges = [*factors, (-hue, hue)]
        self.p = p

    def adjustments(self, random: np.random.Generator) -> list[tuple[int, float]]:
        """Draw what is done, in order: 0 to 3 for brightness, contrast, saturation and hue, and by how much."""
        if random.random() >= self.p:
            return []
        amounts = [random.uniform(*bounds) for bounds in self.ranges]
        order = random.permutation(len(amounts)).tolist()
        return [(which, amounts[which]) for which in order if self.ranges[which][0] < self.ranges[which][1]]

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        for which, amount in self.adjustments(random):
            image = _ADJUST[which](image, amount)
        return image


class Grayscale(SampleTransform):
    """Turn the image grey; it keeps its number of channels.

    Args:
        p: probability.
    """

    def __init__(self, p: float = 1.0) -> None:
        check_number("p", p, ge=0, le=1)
        self.p = p

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        if random.random() >= self.p or image.shape[0] != 3:
            return image
        return F.rgb_to_grayscale(image, num_output_channels=3)


class Solarize(SampleTransform):
    """Invert the pixels from `threshold` on.

    Args:
        threshold: in [0, 256].
        p: probability.
    """

    def __init__(self, threshold: float = 128, p: float = 1.0) -> None:
        check_number("threshold", threshold, ge=0, le=256)
        check_number("p", p, ge=0, le=1)
        self.threshold = threshold
        self.p = p

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        if random.random() >= self.p:
            return image
        return solarize(image, self.threshold)


class GaussianBlur(SampleTransform):
    """Blur with a Gaussian of random width by Pillow, as the recipes of DeiT III and SimCLR's followers do.

    torchvision's blur takes ten times as long for the widths that these use.

    Args:
        radius: smallest and largest standard deviation, in pixels.
        p: probability.
    """

    def __init__(self, radius: Sequence[float] = (0.1, 2.0), p: float = 1.0) -> None:
        check_number("p", p, ge=0, le=1)
        self.radius = check_range("radius", radius, ge=0)
        self.p = p

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        if random.random() >= self.p:
            return image
        blur = ImageFilter.GaussianBlur(random.uniform(*self.radius))
        planes = [np.array(Image.fromarray(plane).filter(blur)) for plane in image.numpy()]
        return torch.from_numpy(np.stack(planes))


class RandomChoice(SampleTransform):
    """Apply one of several transforms, each as often as any other.

    Args:
        transforms: by a name each; null leaves one out.
    """

    def __init__(self, transforms: Mapping[str, SampleTransform | None]) -> None:
        self.transforms = [transform for transform in transforms.values() if transform is not None]
        if not all(isinstance(transform, SampleTransform) for transform in self.transforms):
            raise ParameterError("transforms", list(transforms), "per-sample transforms")
        if not self.transforms:
            raise ParameterError("transforms", dict(transforms), "at least one transform")

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        return self.transforms[int(random.integers(len(self.transforms)))](image, random)
