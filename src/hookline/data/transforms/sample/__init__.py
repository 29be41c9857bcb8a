"""Per-sample transforms: each acts on one image, in whatever thread has read it, before a batch is made.

The pixel work is torchvision's; what these add is where random numbers come from. A transform draws from the generator
that it is given, so what it does to a sample is a function of (seed, epoch, sample, the transform's name).
"""

from hookline.data.transforms.sample.auto_augment import AugMix, AutoAugment, RandAugment, TrivialAugmentWide
from hookline.data.transforms.sample.base import SampleTransform
from hookline.data.transforms.sample.color import ColorJitter, GaussianBlur, Grayscale, RandomChoice, Solarize
from hookline.data.transforms.sample.crops import (
    CenterCrop,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
)
from hookline.data.transforms.sample.erasing import RandomErasing
from hookline.data.transforms.sample.v2 import V2Transform

__all__ = [
    "AugMix",
    "AutoAugment",
    "CenterCrop",
    "ColorJitter",
    "GaussianBlur",
    "Grayscale",
    "RandAugment",
    "RandomChoice",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomVerticalFlip",
    "Resize",
    "SampleTransform",
    "Solarize",
    "TrivialAugmentWide",
    "V2Transform",
]
