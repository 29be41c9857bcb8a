"""The automatic augmentations reach the images that torchvision's reach, as often, with the same pixels."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from hookline.config.errors import ParameterError
from hookline.data.randomness import sample_generator
from hookline.data.transforms.sample import AugMix, AutoAugment, RandAugment, TrivialAugmentWide
from hookline.data.transforms.sample.pixels import equalize, sharpen, solarize, translate, warp

GENERATOR = torch.Generator().manual_seed(0)
# Smooth images with some noise, as photographs are; an odd size shows a mistake about the centre.
IMAGE = F.resize(torch.randint(0, 256, (3, 6, 6), dtype=torch.uint8, generator=GENERATOR), [37, 50])
IMAGE = (IMAGE.int() + torch.randint(-9, 9, IMAGE.shape, generator=GENERATOR)).clamp(20, 240).to(torch.uint8)
IMAGES = [IMAGE, IMAGE[:1], torch.full_like(IMAGE, 7), torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)]


def drawn(sample: int = 0):
    return sample_generator(0, 0, "x", sample)


@pytest.mark.parametrize("image", IMAGES, ids=["odd", "grey", "plain", "noise"])
def test_pixels_are_those_of_torchvisions_functions(image):
    assert torch.equal(equalize(image), F.equalize(image))
    for factor in (0.1, 0.73, 1.0, 1.9):
        assert torch.equal(sharpen(image, factor), F.adjust_sharpness(image, factor))
    for threshold in (0, 100.5, 128, 255):
        assert torch.equal(solarize(image, threshold), F.solarize(image, threshold))
    for right, down in ((5, 0), (-5, 3), (0, -36), (50, 0), (-70, 0)):
        want = F.affine(image, 0.0, [right, down], 1.0, [0.0, 0.0])
        assert torch.equal(translate(image, right, down, [0] * len(image)), want)


@pytest.mark.parametrize("angle", [-135, -30, -9.3, 4.5, 27, 101])
def test_turned_pixels_are_torchvisions(angle):
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    got = warp(IMAGE, [cosine, -sine, 0, sine, cosine, 0], [1, 2, 3])
    # Where an origin lies halfway between two pixels, rounding may choose either.
    assert (got != F.rotate(IMAGE, angle, fill=[1.0, 2.0, 3.0])).float().mean() < 0.002


def outcomes(images) -> tuple[torch.Tensor, list[int]]:
    """Return the different images among these, flat, and how often there is each."""
    found = Counter(image.numpy().tobytes() for image in images)
    flat = [torch.frombuffer(bytearray(content), dtype=torch.uint8) for content in found]
    return torch.stack(flat).float(), list(found.values())


def check_alike(ours, theirs, count: int) -> None:
    """Fail unless `count` images by ours are as many of each kind as of theirs."""
    got, times = outcomes(ours(IMAGE, drawn(sample)) for sample in range(count))
    torch.manual_seed(0)
    want, expected = outcomes(theirs(IMAGE) for _ in range(count))
    # The strengths, which torchvision has in float32, differ in the last digit, and with them a few pixels by one.
    apart, nearest = (torch.cdist(got, want, p=1) / got.shape[1]).min(dim=1)
    found = Counter()
    for kind, how_many, distance in zip(nearest.tolist(), times, apart.tolist(), strict=True):
        found[kind if distance < 0.5 else None] += how_many
    # What is rare may come out once here and never there.
    assert found[None] < 0.02 * count
    for kind, how_many in enumerate(expected):
        assert abs(found[kind] - how_many) < 5 * math.sqrt(2 * how_many) + 5


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (RandAugment(1, 9), v2.RandAugment(1, 9)),
        (RandAugment(1, 4, 11), v2.RandAugment(1, 4, 11)),
        (TrivialAugmentWide(3), v2.TrivialAugmentWide(3)),
        (RandAugment(1, 20, interpolation="bilinear"), v2.RandAugment(1, 20, interpolation="bilinear")),
        (AutoAugment("imagenet"), v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET)),
        (AutoAugment("cifar10"), v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)),
        (AutoAugment("svhn"), v2.AutoAugment(v2.AutoAugmentPolicy.SVHN)),
    ],
    ids=["rand", "other bins", "trivial", "bilinear", "imagenet", "cifar10", "svhn"],
)
def test_the_images_that_can_come_out_are_torchvisions_and_as_frequent(ours, theirs):
    check_alike(ours, theirs, 2000)


def test_two_operations_follow_one_another():
    both = {RandAugment(2)(IMAGE, drawn(sample)).numpy().tobytes() for sample in range(200)}
    single = {RandAugment(1)(IMAGE, drawn(sample)).numpy().tobytes() for sample in range(200)}
    assert len(both) > 2 * len(single)
    assert torch.equal(RandAugment(0)(IMAGE, drawn()), IMAGE)


def test_augmix_mixes_as_torchvisions():
    samples = 300
    ours, theirs = AugMix(), v2.AugMix()
    torch.manual_seed(0)
    got = torch.stack([ours(IMAGE, drawn(sample)) for sample in range(samples)]).float()
    want = torch.stack([theirs(IMAGE) for _ in range(samples)]).float()
    assert (got.mean(0) - want.mean(0)).abs().mean() < 3
    assert (got.std(0) - want.std(0)).abs().mean() < 3


def test_what_comes_from_outside_is_of_the_given_colour():
    white = torch.full((3, 30, 30), 255, dtype=torch.uint8)
    moved = [TrivialAugmentWide(2, fill=[0.0, 1.0, 1.0])(white, drawn(sample)) for sample in range(100)]
    corners = {tuple(image[:, i, j].tolist()) for image in moved for i in (0, -1) for j in (0, -1)}
    assert (0, 255, 255) in corners


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandAugment(magnitude=31), "magnitude=31: must be an integer >= 0 and < 31"),
        (lambda: RandAugment(interpolation="bicubic"), "interpolation='bicubic': must be one of nearest, bilinear"),
        (lambda: AutoAugment("mnist"), "policy='mnist': must be one of imagenet, cifar10, svhn"),
        (lambda: AugMix(severity=0), "severity=0: must be an integer >= 1 and <= 10"),
    ],
)
def test_wrong_parameters(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
