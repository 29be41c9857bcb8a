"""Crops and flips follow torchvision's rules: same bounds, same shares, and the same pixels for the same rectangle."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from hookline.config.errors import ParameterError
from hookline.data.randomness import sample_generator
from hookline.data.transforms.sample import (
    CenterCrop,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
)

IMAGE = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def drawn(sample: int = 0, name: str = "x"):
    return sample_generator(0, 0, name, sample)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("planes", ["apart", "interleaved"])
def test_resized_crop_has_the_pixels_of_torchvisions(interpolation, planes):
    crop = RandomResizedCrop([24, 32], interpolation=interpolation)
    image = IMAGE if planes == "apart" else IMAGE.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for sample in range(20):
        box = crop.box(40, 60, drawn(sample))
        want = F.resized_crop(IMAGE, *box, [24, 32], interpolation=InterpolationMode(interpolation), antialias=True)
        assert torch.equal(crop(image, drawn(sample)), want)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    low=st.floats(0.01, 1),
    flat=st.floats(0.2, 1),
    sample=st.integers(0, 2**40),
)
def test_a_resized_crop_lies_within_the_image_and_its_bounds(height, width, low, flat, sample):
    top, left, h, w = RandomResizedCrop(8, scale=[low, 1], ratio=[flat, 1 / flat]).box(height, width, drawn(sample))
    assert 0 <= top <= height - h
    assert 0 <= left <= width - w
    assert h > 0
    assert w > 0
    # To within the rounding of a side to whole pixels; one that fits nowhere is the largest of an allowed shape.
    assert (w - 0.5) / (h + 0.5) <= 1.001 / flat or h == 1
    assert (w + 0.5) / (h - 0.5) >= 0.999 * flat or w == 1
    assert (h + 0.5) * (w + 0.5) >= 0.999 * low * height * width or h == height or w == width


def test_resized_crops_are_spread_as_torchvisions():
    ours = [RandomResizedCrop(8).box(200, 300, drawn(sample)) for sample in range(3000)]
    torch.manual_seed(0)
    theirs = [v2.RandomResizedCrop.get_params(torch.empty(3, 200, 300), [0.08, 1], [3 / 4, 4 / 3]) for _ in range(3000)]
    for measure in (lambda b: b[2] * b[3] / 60000, lambda b: math.log(b[3] / b[2]), lambda b: b[0], lambda b: b[1]):
        a, b = (torch.tensor([float(measure(box)) for box in boxes]).sort().values for boxes in (ours, theirs))
        grid = torch.cat([a, b])
        apart = (torch.searchsorted(a, grid, right=True) - torch.searchsorted(b, grid, right=True)).abs().max() / 3000
        assert apart < 0.05  # Kolmogorov and Smirnov's distance: 0.05 and more for one pair in a thousand


def test_what_fits_nowhere_is_the_largest_allowed_part_of_the_centre():
    for size in ((10, 100), (100, 10)):
        assert RandomResizedCrop(8, scale=[1, 1]).box(*size, drawn()) == v2.RandomResizedCrop.get_params(
            torch.empty(3, *size), [1, 1], [3 / 4, 4 / 3]
        )


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_crop_is_a_window_of_the_padded_image_and_reaches_every_place(mode):
    crop, image = RandomCrop(padding=1, padding_mode=mode), IMAGE[:, :5, :6]
    padded = F.pad(image, [1], padding_mode=mode)
    windows = {padded[:, i : i + 5, j : j + 6].numpy().tobytes() for i in range(3) for j in range(3)}
    assert {crop(image, drawn(sample)).numpy().tobytes() for sample in range(150)} == windows


def test_crop_to_a_size_pads_what_is_too_small():
    for size in ((50, 50), (30, 80), (20, 20)):
        assert RandomCrop(size, padding=0)(IMAGE, drawn()).shape == (3, *size)


def test_flips():
    left = [torch.equal(RandomHorizontalFlip(0.3)(IMAGE, drawn(s)), F.horizontal_flip(IMAGE)) for s in range(1000)]
    assert 240 < sum(left) < 360
    assert torch.equal(RandomVerticalFlip(1.0)(IMAGE, drawn()), F.vertical_flip(IMAGE))
    assert torch.equal(RandomHorizontalFlip(0.0)(IMAGE, drawn()), IMAGE)


def test_center_crop_fills_with_the_colour():
    got = CenterCrop(64, fill=[1.0, 0.5, 0.0])(IMAGE, drawn())
    assert got[:, 0, 0].tolist() == [255, 128, 0]
    assert torch.equal(F.center_crop(got, [40, 60]), IMAGE)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(height=st.integers(2, 200), width=st.integers(2, 200), sample=st.integers(0, 2**40))
def test_an_erased_rectangle_lies_within_the_image_and_its_bounds(height, width, sample):
    box = RandomErasing(1.0, scale=[0.1, 0.2]).box(height, width, drawn(sample))
    if box is not None:
        top, left, h, w = box
        assert 0 <= top <= height - h
        assert 0 <= left <= width - w
        assert (h - 0.5) * (w - 0.5) <= 0.2 * height * width
        assert (h + 0.5) * (w + 0.5) >= 0.1 * height * width


def test_erasing_changes_the_rectangle_alone_and_as_often_as_asked():
    erase = RandomErasing(0.25, fill=[1.0, 0.0, 0.5])
    before = IMAGE.clone()
    changed = 0
    for sample in range(1000):
        box, got = erase.box(40, 60, drawn(sample)), erase(IMAGE, drawn(sample))
        if box is not None:
            want = F.erase(IMAGE, *box, v=torch.tensor([255, 0, 128], dtype=torch.uint8).view(3, 1, 1))
            assert torch.equal(got, want)
            changed += 1
        else:
            assert torch.equal(got, IMAGE)
    assert torch.equal(IMAGE, before)
    assert 200 < changed < 300
    noise = RandomErasing(1.0, scale=[0.3, 0.3], fill="noise")(torch.zeros_like(IMAGE), drawn())
    assert noise.unique().numel() > 200


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomResizedCrop(0), "size=0: must be an integer > 0"),
        (lambda: RandomResizedCrop([1, 2, 3]), r"size=\[1, 2, 3\]: must be a number of pixels, or height and width"),
        (lambda: RandomResizedCrop(8, scale=[1, 0.5]), r"scale=\[1, 0.5\]: must be two numbers, the smaller one first"),
        (lambda: RandomResizedCrop(8, interpolation="box"), "interpolation='box': must be one of nearest, bilinear"),
        (lambda: RandomCrop(padding_mode="zeros"), "padding_mode='zeros': must be one of constant"),
        (lambda: RandomErasing(fill=[2.0]), "fill=2.0: must be a number >= 0 and <= 1"),
        (lambda: RandomErasing(scale=[0.1, 2]), r"scale=\[0.1, 2\]: must be shares of the image, at most 1"),
        (
            lambda: CenterCrop(64, fill=[0.5, 0.5])(IMAGE, drawn()),
            "fill=.*: must be a number for each of the image's 3",
        ),
    ],
)
def test_wrong_parameters(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
