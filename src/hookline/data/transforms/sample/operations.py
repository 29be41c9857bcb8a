"""The operations that the automatic augmentations choose from, by the names of AutoAugment's paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from hookline.config.checks import check_choice
from hookline.data.transforms.sample.base import check_fill, colour_of
from hookline.data.transforms.sample.pixels import equalize, sharpen, solarize, translate, warp

# How strong an operation is at a place from 0 (not at all) to 1, for images of some height and width; None for those
# that have no strength.
Strength = Callable[[float, int, int], float] | None

# These are as strong in one direction as in the other.
SIGNED = frozenset(
    {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness"}
)


def linear(start: float, end: float) -> Strength:
    """Return a strength that goes from `start` to `end`."""
    return lambda place, height, width: start + (end - start) * place


def bits(most: int, least: int) -> Strength:
    """Return the number of bits that Posterize keeps, from `most` down to `least`, rounded to even as torch rounds."""
    return lambda place, height, width: round(most - (most - least) * place)


def of_width(share: float) -> Strength:
    """Return a strength from 0 to a share of the width."""
    return lambda place, height, width: share * width * place


def of_height(share: float) -> Strength:
    """Return a strength from 0 to a share of the height."""
    return lambda place, height, width: share * height * place


# Those of AutoAugment (Cubuk et al., 2018, arXiv:1805.09501, table 6) in torchvision's scale, where RandAugment's are
# the same.
AUTO_AUGMENT: dict[str, Strength] = {
    "ShearX": linear(0, 0.3),
    "ShearY": linear(0, 0.3),
    "TranslateX": of_width(150 / 331),
    "TranslateY": of_height(150 / 331),
    "Rotate": linear(0, 30),
    "Brightness": linear(0, 0.9),
    "Color": linear(0, 0.9),
    "Contrast": linear(0, 0.9),
    "Sharpness": linear(0, 0.9),
    "Posterize": bits(8, 4),
    "Solarize": linear(1, 0),
    "AutoContrast": None,
    "Equalize": None,
    "Invert": None,
}
# RandAugment (Cubuk et al., 2019, arXiv:1909.13719) may leave the image as it is, and does not invert.
RAND_AUGMENT: dict[str, Strength] = {"Identity": None, **AUTO_AUGMENT}
del RAND_AUGMENT["Invert"]
# The wide space of TrivialAugment (Mueller and Hutter, 2021, arXiv:2103.10158, table 5).
TRIVIAL_AUGMENT_WIDE: dict[str, Strength] = RAND_AUGMENT | {
    "ShearX": linear(0, 0.99),
    "ShearY": linear(0, 0.99),
    "TranslateX": linear(0, 32),
    "TranslateY": linear(0, 32),
    "Rotate": linear(0, 135),
    "Brightness": linear(0, 0.99),
    "Color": linear(0, 0.99),
    "Contrast": linear(0, 0.99),
    "Sharpness": linear(0, 0.99),
    "Posterize": bits(8, 2),
}
# AugMix (Hendrycks et al., 2019, arXiv:1912.02781) without and with those that its test of robustness has, too.
AUGMIX: dict[str, Strength] = {
    "ShearX": linear(0, 0.3),
    "ShearY": linear(0, 0.3),
    "TranslateX": of_width(1 / 3),
    "TranslateY": of_height(1 / 3),
    "Rotate": linear(0, 30),
    "Posterize": bits(4, 0),
    "Solarize": linear(1, 0),
    "AutoContrast": None,
    "Equalize": None,
}
AUGMIX_ALL: dict[str, Strength] = AUGMIX | {
    name: AUTO_AUGMENT[name] for name in ("Brightness", "Color", "Contrast", "Sharpness")
}


class Operations:
    """Applies an operation by its name and strength, with torchvision's meaning of both.

    Args:
        interpolation: of what is sheared, shifted or turned: `nearest` or `bilinear`.
        fill: colour of what comes from outside, a number in [0, 1] for each channel; None: black.
    """

    def __init__(self, interpolation: str = "nearest", fill: Sequence[float] | None = None) -> None:
        check_choice("interpolation", interpolation, ["nearest", "bilinear"])
        check_fill("fill", fill)
        self.interpolation = interpolation
        self.fill = fill

    def __call__(self, image: Tensor, name: str, strength: float) -> Tensor:
        """Return the image with operation `name` applied to it."""
        match name:
            case "ShearX" | "ShearY" | "TranslateX" | "TranslateY" | "Rotate":
                return self._moved(image, name, strength)
            case "Brightness":
                return F.adjust_brightness(image, 1.0 + strength)
            case "Color":
                return F.adjust_saturation(image, 1.0 + strength)
            case "Contrast":
                return F.adjust_contrast(image, 1.0 + strength)
            case "Sharpness":
                return sharpen(image, 1.0 + strength)
            case "Posterize":
                return F.posterize(image, int(strength))
            case "Solarize":
                return solarize(image, 255 * strength)
            case "AutoContrast":
                return F.autocontrast(image)
            case "Equalize":
                return equalize(image)
            case "Invert":
                return 255 - image
            case _:
                return image

    def _moved(self, image: Tensor, name: str, strength: float) -> Tensor:
        fill = colour_of(self.fill, image.shape[0])
        pixels = int(strength)
        if name.startswith("Translate"):
            return translate(image, *((pixels, 0) if name == "TranslateX" else (0, pixels)), fill)
        height, width = image.shape[-2:]
        if self.interpolation == "nearest":
            sine, cosine = math.sin(math.radians(strength)), math.cos(math.radians(strength))
            match name:  # shears leave the corner at the top left where it is
                case "ShearX":
                    return warp(image, [1, strength, strength * height / 2, 0, 1, 0], fill)
                case "ShearY":
                    return warp(image, [1, 0, 0, strength, 1, strength * width / 2], fill)
                case _:
                    return warp(image, [cosine, -sine, 0, sine, cosine, 0], fill)
        # torchvision blends the edges with black once where it is told no colour, and twice where it is told black.
        blended = None if self.fill is None else [float(value) for value in fill]
        if name == "Rotate":
            return F.rotate(image, strength, InterpolationMode.BILINEAR, fill=blended)
        angle = math.degrees(math.atan(strength))
        return F.affine(
            image,
            angle=0.0,
            translate=[0, 0],
            scale=1.0,
            shear=[angle, 0.0] if name == "ShearX" else [0.0, angle],
            interpolation=InterpolationMode.BILINEAR,
            fill=blended,
            center=[0, 0],
        )
