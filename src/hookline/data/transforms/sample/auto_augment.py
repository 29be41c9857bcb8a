"""Automatic augmentations: RandAugment, TrivialAugment, AutoAugment and AugMix, with torchvision's scales."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from hookline.config.checks import check_bool, check_choice, check_number
from hookline.data.transforms.sample.base import SampleTransform, height_and_width
from hookline.data.transforms.sample.operations import (
    AUGMIX,
    AUGMIX_ALL,
    AUTO_AUGMENT,
    RAND_AUGMENT,
    SIGNED,
    TRIVIAL_AUGMENT_WIDE,
    Operations,
    Strength,
)
from hookline.data.transforms.sample.policies import POLICIES

# Operations with their strengths, in the order in which they are applied.
Drawn = list[tuple[str, float]]

AUTO_AUGMENT_BINS = 10
AUGMIX_BINS = 10


def draw(
    space: Mapping[str, Strength], place: float, height: int, width: int, random: np.random.Generator
) -> tuple[str, float]:
    """Draw one of the operations, and in which direction it goes."""
    name = list(space)[int(random.integers(len(space)))]
    return name, strength_of(space, name, place, height, width, negative=bool(random.random() < 0.5))


def strength_of(
    space: Mapping[str, Strength], name: str, place: float, height: int, width: int, *, negative: bool
) -> float:
    """Return how strong an operation is, below zero where it goes in both directions and the other one is wanted."""
    strength = space[name]
    amount = strength(place, height, width) if strength is not None else 0.0
    return -amount if negative and name in SIGNED else amount


class AutomaticAugmentation(SampleTransform):
    """Base class of those that apply some operations one after the other.

    Args:
        interpolation: of what is sheared, shifted or turned: `nearest` or `bilinear`, which takes three times as long.
        fill: colour of what comes from outside, a number in [0, 1] for each channel; null: black.
    """

    def __init__(self, interpolation: str = "nearest", fill: Sequence[float] | None = None) -> None:
        self.operations = Operations(interpolation, fill)

    def drawn(self, height: int, width: int, random: np.random.Generator) -> Drawn:
        """Draw what is done to an image of this size."""
        raise NotImplementedError

    def apply(self, image: Tensor, drawn: Iterable[tuple[str, float]]) -> Tensor:
        """Return the image with these operations applied to it."""
        for name, strength in drawn:
            image = self.operations(image, name, strength)
        return image

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        return self.apply(image, self.drawn(*height_and_width(image), random))


class RandAugment(AutomaticAugmentation):
    """Apply `num_ops` random operations of one strength (Cubuk et al., 2019, arXiv:1909.13719).

    Args:
        num_ops: operations that an image gets.
        magnitude: strength of all of them: 0 (none) to `num_magnitude_bins` - 1.
        num_magnitude_bins: number of different strengths.
        interpolation: see `AutomaticAugmentation`.
        fill: see `AutomaticAugmentation`.
    """

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        interpolation: str = "nearest",
        fill: Sequence[float] | None = None,
    ) -> None:
        super().__init__(interpolation, fill)
        check_number("num_ops", num_ops, ge=0, integer=True)
        check_number("num_magnitude_bins", num_magnitude_bins, gt=1, integer=True)
        check_number("magnitude", magnitude, ge=0, lt=num_magnitude_bins, integer=True)
        self.num_ops = num_ops
        self.place = magnitude / (num_magnitude_bins - 1)

    def drawn(self, height: int, width: int, random: np.random.Generator) -> Drawn:
        return [draw(RAND_AUGMENT, self.place, height, width, random) for _ in range(self.num_ops)]


class TrivialAugmentWide(AutomaticAugmentation):
    """Apply one random operation of random strength (Mueller and Hutter, 2021, arXiv:2103.10158).

    Args:
        num_magnitude_bins: number of different strengths.
        interpolation: see `AutomaticAugmentation`.
        fill: see `AutomaticAugmentation`.
    """

    def __init__(
        self, num_magnitude_bins: int = 31, interpolation: str = "nearest", fill: Sequence[float] | None = None
    ) -> None:
        super().__init__(interpolation, fill)
        check_number("num_magnitude_bins", num_magnitude_bins, gt=1, integer=True)
        self.bins = num_magnitude_bins

    def drawn(self, height: int, width: int, random: np.random.Generator) -> Drawn:
        place = int(random.integers(self.bins)) / (self.bins - 1)
        return [draw(TRIVIAL_AUGMENT_WIDE, place, height, width, random)]


class AutoAugment(AutomaticAugmentation):
    """Apply one of 25 pairs of operations that a search has found (Cubuk et al., 2018, arXiv:1805.09501).

    Args:
        policy: what the search was made on: `imagenet`, `cifar10` or `svhn`.
        interpolation: see `AutomaticAugmentation`.
        fill: see `AutomaticAugmentation`.
    """

    def __init__(
        self, policy: str = "imagenet", interpolation: str = "nearest", fill: Sequence[float] | None = None
    ) -> None:
        super().__init__(interpolation, fill)
        check_choice("policy", policy, list(POLICIES))
        self.pairs = POLICIES[policy]

    def drawn(self, height: int, width: int, random: np.random.Generator) -> Drawn:
        found = []
        for name, p, level in self.pairs[int(random.integers(len(self.pairs)))]:
            picked, negative = random.random(2)
            if picked < p:
                place = (level or 0) / (AUTO_AUGMENT_BINS - 1)
                strength = strength_of(AUTO_AUGMENT, name, place, height, width, negative=bool(negative < 0.5))
                found.append((name, strength))
        return found


class AugMix(AutomaticAugmentation):
    """Mix an image with several differently augmented copies of itself (Hendrycks et al., 2019, arXiv:1912.02781).

    Args:
        severity: largest strength of an operation, from 1 to 10.
        mixture_width: number of augmented copies.
        chain_depth: operations for each of them; -1: a random number from 1 to 3.
        alpha: of the Dirichlet and Beta distributions of the shares.
        all_ops: brightness, colour, contrast and sharpness, too, which the paper leaves to its test of robustness.
        interpolation: see `AutomaticAugmentation`.
        fill: see `AutomaticAugmentation`.
    """

    def __init__(
        self,
        severity: int = 3,
        mixture_width: int = 3,
        chain_depth: int = -1,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        fill: Sequence[float] | None = None,
    ) -> None:
        super().__init__(interpolation, fill)
        check_number("severity", severity, ge=1, le=AUGMIX_BINS, integer=True)
        check_number("mixture_width", mixture_width, gt=0, integer=True)
        check_number("chain_depth", chain_depth, ge=-1, integer=True)
        check_number("alpha", alpha, gt=0)
        check_bool("all_ops", all_ops)
        self.severity = severity
        self.mixture_width = mixture_width
        self.chain_depth = chain_depth
        self.alpha = alpha
        self.space = AUGMIX_ALL if all_ops else AUGMIX

    def drawn(self, height: int, width: int, random: np.random.Generator) -> Drawn:
        """Draw what is done to one of the copies."""
        depth = self.chain_depth if self.chain_depth > 0 else int(random.integers(1, 4))
        places = [int(random.integers(self.severity)) / (AUGMIX_BINS - 1) for _ in range(depth)]
        return [draw(self.space, place, height, width, random) for place in places]

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        own = float(random.beta(self.alpha, self.alpha))
        shares = (1 - own) * random.dirichlet([self.alpha] * self.mixture_width)
        mixture = image * own
        for share in shares.tolist():
            mixture += share * self.apply(image, self.drawn(*height_and_width(image), random))
        return mixture.clamp_(0, 255).to(torch.uint8)
