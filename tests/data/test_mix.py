"""Mixing the samples of a batch."""

from __future__ import annotations

import pytest
import torch

from hookline.config.errors import ParameterError
from hookline.data import Batch
from hookline.data.mix import Mix


def batch_of(images: torch.Tensor) -> Batch:
    """Return a batch in which sample i is of class i."""
    numbers = torch.arange(len(images))
    return Batch(images, numbers, numbers)


@pytest.mark.parametrize("options", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixing_keeps_images_and_targets_together(options):
    # Sample i is an image full of the value i, of class i: what is left of each in the image is in the target.
    images = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 16, 16).contiguous()
    mixed = Mix(**options, num_classes=8)(batch_of(images), seed=1, epoch=2, number=3)
    torch.testing.assert_close(mixed.targets.sum(1), torch.ones(8))
    expected = mixed.targets @ torch.arange(8.0)
    torch.testing.assert_close(mixed.images.mean((1, 2, 3)), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(images[:, 0, 0, 0], torch.arange(8.0))
    assert torch.equal(mixed.indices, torch.arange(8))


def test_what_is_drawn_is_a_function_of_seed_epoch_and_number():
    batch = batch_of(torch.rand(8, 1, 8, 8))
    mix = Mix(mixup=0.8, cutmix=1.0, num_classes=8)
    draws = {}
    for key in [(s, e, i) for s in (0, 1) for e in (0, 1) for i in (0, 1, 2)]:
        torch.manual_seed(len(draws))
        before = torch.get_rng_state()
        draws[key] = mix(batch, seed=key[0], epoch=key[1], number=key[2])
        assert torch.equal(torch.get_rng_state(), before)
    for key, mixed in draws.items():
        other = Mix(mixup=0.8, cutmix=1.0, num_classes=8)
        again = other(batch, seed=key[0], epoch=key[1], number=key[2])
        assert torch.equal(again.images, mixed.images)
        assert torch.equal(again.targets, mixed.targets)
    assert len({tuple(mixed.targets.flatten().tolist()) for mixed in draws.values()}) == len(draws)


def test_a_share_of_the_batches_stays_as_it_is():
    batch = batch_of(torch.rand(8, 1, 8, 8))
    mix = Mix(mixup=0.8, p=0.5, num_classes=8)
    kept = sum(mix(batch, seed=0, epoch=0, number=i).targets.ndim == 1 for i in range(100))
    assert 30 < kept < 70


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "mixup"), ({"mixup": -1.0}, "mixup"), ({"mixup": 1.0, "p": 0.0}, "p=0"), ({"cutmix_share": 1.0}, "share")],
)
def test_wrong_settings(options, message):
    with pytest.raises(ParameterError, match=message):
        Mix(**options, num_classes=3)
