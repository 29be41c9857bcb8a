"""Colours are changed by torchvision's and Pillow's rules, by amounts within the bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms.v2 import functional as F

from hookline.data.randomness import sample_generator
from hookline.data.transforms.sample import ColorJitter, GaussianBlur, Grayscale, RandomChoice, Solarize

IMAGE = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
ADJUST = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)


def drawn(sample: int = 0):
    return sample_generator(0, 0, "x", sample)


def as_pillow(image: torch.Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def test_jitter_has_torchvisions_pixels_amounts_within_the_bounds_and_any_order():
    jitter = ColorJitter(0.4, 0.3, 1.5, 0.1)
    bounds = [(0.6, 1.4), (0.7, 1.3), (0.0, 2.5), (-0.1, 0.1)]
    orders, amounts = set(), [[], [], [], []]
    for sample in range(500):
        steps = jitter.adjustments(drawn(sample))
        orders.add(tuple(which for which, _ in steps))
        for which, amount in steps:
            amounts[which].append(amount)
        if sample < 20:
            want = IMAGE
            for which, amount in steps:
                want = ADJUST[which](want, amount)
            assert torch.equal(jitter(IMAGE, drawn(sample)), want)
    assert len(orders) == 24
    for found, (low, high) in zip(amounts, bounds, strict=True):
        assert low <= min(found) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < max(found) <= high
        assert sum(found) / 500 == pytest.approx((low + high) / 2, abs=0.05 * (high - low))


def test_jitter_leaves_out_what_is_zero_and_obeys_p():
    assert {which for s in range(50) for which, _ in ColorJitter(contrast=0.2).adjustments(drawn(s))} == {1}
    changed = sum(bool(ColorJitter(0.2, p=0.3).adjustments(drawn(sample))) for sample in range(1000))
    assert 240 < changed < 360


def test_grey_and_solarized_are_pillows():
    assert torch.equal(Grayscale()(IMAGE, drawn()), F.rgb_to_grayscale(IMAGE, 3))
    want = np.asarray(ImageOps.solarize(as_pillow(IMAGE), 128))
    assert np.array_equal(Solarize(128)(IMAGE, drawn()).permute(1, 2, 0).numpy(), want)
    assert torch.equal(Solarize(256)(IMAGE, drawn()), IMAGE)


def test_blur_is_pillows_with_a_radius_within_the_bounds():
    got = GaussianBlur([1.5, 1.5])(IMAGE, drawn())
    want = np.asarray(as_pillow(IMAGE).filter(ImageFilter.GaussianBlur(1.5)))
    assert np.array_equal(got.permute(1, 2, 0).numpy(), want)
    blurred = [GaussianBlur([0.1, 2.0])(IMAGE, drawn(sample)).float().std() for sample in range(30)]
    sharp, soft = (GaussianBlur([r, r])(IMAGE, drawn()).float().std() for r in (0.1, 2.0))
    assert soft <= min(blurred) < 0.6 * sharp
    assert max(blurred) <= sharp


def test_choice_takes_each_as_often_as_the_others():
    choice = RandomChoice({"grey": Grayscale(), "solarize": Solarize(), "blur": None, "none": Grayscale(0.0)})
    known = [Grayscale()(IMAGE, drawn()), Solarize()(IMAGE, drawn()), IMAGE]
    which = [[torch.equal(choice(IMAGE, drawn(s)), image) for image in known].index(True) for s in range(600)]
    assert all(150 < which.count(kind) < 250 for kind in range(3))


def test_grey_images_stay_grey():
    grey = IMAGE[:1]
    for transform in (ColorJitter(0.4, 0.4, 0.4), Grayscale(), Solarize(), GaussianBlur()):
        assert transform(grey, drawn()).shape == grey.shape
