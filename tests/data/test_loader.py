"""Batches: what is drawn for a sample depends on seed, epoch and sample alone; validation sees every sample once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from hookline.config.errors import ParameterError
from hookline.data import Digits, Normalize, RandomCrop, RandomHorizontalFlip, Resize, TensorLoader

IMAGES = torch.randint(0, 256, (50, 3, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(50)
AUGMENT = (RandomCrop(2), RandomHorizontalFlip())


def by_sample(loader: TensorLoader) -> dict[int, torch.Tensor]:
    """Return the transformed image of each sample of one epoch."""
    return {int(label): image for images, labels in loader for image, label in zip(images, labels, strict=True)}


def loader(**options) -> TensorLoader:
    return TensorLoader(IMAGES, LABELS, **({"batch_size": 8, "transforms": AUGMENT, "shuffle": True} | options))


@settings(max_examples=20, deadline=None)
@given(batch_size=st.integers(1, 60), seed=st.integers(0, 2**31), epoch=st.integers(0, 1000))
def test_augmentation_does_not_depend_on_the_batch(batch_size, seed, epoch):
    one, other = loader(seed=seed), loader(seed=seed, batch_size=batch_size)
    one.set_epoch(epoch)
    other.set_epoch(epoch)
    a, b = by_sample(one), by_sample(other)
    assert list(a) == list(b)
    assert all(torch.equal(a[i], b[i]) for i in a)


def test_what_ran_before_does_not_matter():
    fresh, used = loader(), loader()
    for epoch in range(3):
        used.set_epoch(epoch)
        torch.rand(epoch + 1)
        list(used)
    for each in (fresh, used):
        each.set_epoch(7)
    a, b = by_sample(fresh), by_sample(used)
    assert list(a) == list(b)
    assert all(torch.equal(a[i], b[i]) for i in a)


def test_epochs_and_seeds_differ():
    first, second, other = loader(), loader(), loader(seed=1)
    second.set_epoch(1)
    orders = [list(by_sample(each)) for each in (first, second, other)]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_every_sample_has_its_own_draws():
    same = TensorLoader(IMAGES[:1].expand(50, -1, -1, -1), LABELS, batch_size=50, transforms=AUGMENT)
    (images, _) = next(iter(same))
    assert len({tuple(image.flatten().tolist()) for image in images}) > 20


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [16, 16, 16, 2]), (True, [16, 16, 16])])
def test_batch_sizes(drop_last, sizes):
    batches = loader(batch_size=16, drop_last=drop_last)
    assert [len(labels) for _, labels in batches] == sizes
    assert len(batches) == len(sizes)


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


def test_normalize_leaves_its_input_alone():
    images = IMAGES.float()
    before = images.clone()
    Normalize([0.5] * 3, [0.5] * 3)(images, torch.empty(50, 0))
    assert torch.equal(images, before)


def test_digits():
    data = Digits(batch_size=64, train_transforms={"crop": RandomCrop(1)}, transforms={"resize": Resize(16)})
    train, val = data.train_loader, data.val_loader
    assert (len(train.images), len(val.images), data.num_classes, data.in_chans) == (1437, 360, 10, 1)
    assert all(30 <= n <= 40 for n in torch.bincount(val.labels).tolist())
    pixels = torch.cat([images for images, _ in val])
    assert pixels.shape == (360, 1, 16, 16)
    assert abs(pixels.mean()) < 0.1
    assert abs(pixels.std() - 1) < 0.3
    labels = torch.cat([labels for _, labels in val])
    assert torch.equal(labels, val.labels)
    again = Digits(seed=5)
    assert torch.equal(again.val_loader.images, val.images)


def test_validation_takes_no_random_transform_and_has_none():
    data = Digits(train_transforms={"crop": RandomCrop(1)})
    assert all(t.draws == 0 for t in data.val_loader.transforms)
    assert any(t.draws for t in data.train_loader.transforms)
    with pytest.raises(ParameterError, match=r"transforms\.flip"):
        Digits(transforms={"flip": RandomHorizontalFlip()})


@pytest.mark.cuda
def test_the_device_makes_no_difference():
    device = torch.device("cuda")
    gpu = TensorLoader(IMAGES.to(device), LABELS.to(device), batch_size=8, transforms=AUGMENT, shuffle=True)
    a, b = by_sample(loader()), by_sample(gpu)
    assert list(a) == list(b)
    assert all(torch.equal(a[i], b[i].cpu()) for i in a)
