"""Each batched transform does what its counterpart for one image does."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from hookline.data import Normalize, RandomCrop, RandomHorizontalFlip
from hookline.data.transforms.batched import IN_CACHE

IMAGES = torch.randint(0, 256, (50, 3, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("padding", [1, 3])
def test_crop_equals_padding_and_cutting_each_image(padding):
    uniform = torch.rand(len(IMAGES), 2)
    got = RandomCrop(padding)(IMAGES, uniform)
    for image, (row, column), out in zip(IMAGES, (uniform * (2 * padding + 1)).long(), got, strict=True):
        padded = tv.pad(image, [padding] * 4)
        assert torch.equal(out, tv.crop(padded, int(row), int(column), 9, 7))


def test_crop_reaches_every_place():
    uniform = torch.rand(5000, 2)
    image = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    image[0, 0, 2, 2] = 1
    moved = RandomCrop(1)(image.expand(5000, -1, -1, -1), uniform)
    places = torch.bincount(moved.flatten(1).argmax(1), minlength=25).view(5, 5)
    assert (places[1:4, 1:4] > 400).all()
    assert places.sum() == places[1:4, 1:4].sum()


@pytest.mark.parametrize(("p", "low", "high"), [(0.0, 0, 0), (1.0, 50, 50), (0.5, 10, 40)])
def test_flip(p, low, high):
    out = RandomHorizontalFlip(p)(IMAGES, torch.rand(50, 1))
    flipped = [i for i in range(50) if torch.equal(out[i], IMAGES[i].flip(-1))]
    assert all(torch.equal(out[i], IMAGES[i]) for i in range(50) if i not in flipped)
    assert low <= len(flipped) <= high


def test_normalize_equals_torchvision():
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]
    got = Normalize(mean, std)(IMAGES, torch.empty(50, 0))
    want = tv.normalize(tv.to_dtype(IMAGES, torch.float32, scale=True), mean, std)
    torch.testing.assert_close(got, want)
    assert IMAGES.dtype == torch.uint8


def test_a_batch_that_is_normalised_in_parts_has_the_numbers_of_its_images_alone():
    normalize, nothing = Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]), torch.empty(0)
    images = torch.randint(0, 256, (7, 3, 300, 300), dtype=torch.uint8)
    assert IN_CACHE < images.numel() < 7 * IN_CACHE
    alone = torch.cat([normalize(image.unsqueeze(0), nothing) for image in images])
    assert torch.equal(normalize(images, nothing), alone)


def test_normalize_leaves_its_input_alone():
    images = IMAGES.float()
    before = images.clone()
    Normalize([0.5] * 3, [0.5] * 3)(images, torch.empty(50, 0))
    assert torch.equal(images, before)
