"""Transforms of torchvision's v2 draw from the sample's generator, whichever thread applies them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from hookline.config.errors import ParameterError
from hookline.data.randomness import sample_generator
from hookline.data.transforms.sample import (
    AugMix,
    AutoAugment,
    ColorJitter,
    GaussianBlur,
    Grayscale,
    RandAugment,
    RandomChoice,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Solarize,
    TrivialAugmentWide,
    V2Transform,
)

IMAGES = torch.randint(0, 256, (40, 3, 24, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

OF_V2 = {
    "crop": v2.RandomResizedCrop(16),
    "flip": v2.RandomHorizontalFlip(),
    "jitter": v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
    "rand": v2.RandAugment(),
    "augmix": v2.AugMix(),
    "affine": v2.RandomAffine(20),
    "perspective": v2.RandomPerspective(),
    "elastic": v2.ElasticTransform(),
    "blur": v2.GaussianBlur(5),
    "several": v2.Compose(
        [v2.RandomApply([v2.RandomRotation(30)]), v2.RandomChoice([v2.RandomInvert(), v2.RandomGrayscale()])]
    ),
    "photometric": v2.RandomPhotometricDistort(),
    "channels": v2.RandomChannelPermutation(),
}
OURS = {
    "RandomResizedCrop": RandomResizedCrop(16),
    "RandomCrop": RandomCrop(),
    "RandomHorizontalFlip": RandomHorizontalFlip(),
    "RandomErasing": RandomErasing(1.0),
    "ColorJitter": ColorJitter(0.4, 0.4, 0.4, 0.1),
    "RandAugment": RandAugment(),
    "TrivialAugmentWide": TrivialAugmentWide(),
    "AutoAugment": AutoAugment(),
    "AugMix": AugMix(),
    "RandomChoice": RandomChoice({"grey": Grayscale(0.5), "solarize": Solarize(), "blur": GaussianBlur()}),
}
TRANSFORMS = {name: V2Transform(transform) for name, transform in OF_V2.items()} | OURS


def apply(transform, sample: int) -> bytes:
    return transform(IMAGES[sample], sample_generator(3, 5, "name", sample)).numpy().tobytes()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_any_number_of_threads_in_any_order_gives_the_same_bits(name):
    transform, samples = TRANSFORMS[name], range(len(IMAGES))
    want = [apply(transform, sample) for sample in samples]
    assert len(set(want)) > 20
    with ThreadPoolExecutor(4) as pool:
        backwards = list(pool.map(lambda sample: apply(transform, sample), reversed(samples)))
    assert backwards[::-1] == want


@pytest.mark.parametrize("name", TRANSFORMS)
def test_no_other_random_numbers_are_touched_or_matter(name):
    transform, before = TRANSFORMS[name], IMAGES.clone()
    torch.manual_seed(1)
    np.random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()
    first = apply(transform, 7)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    torch.manual_seed(2)
    assert apply(transform, 7) == first
    assert torch.equal(IMAGES, before)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_seed_epoch_sample_and_name_each_matter(name):
    def drawn(*key):
        return [
            TRANSFORMS[name](IMAGES[0], sample_generator(seed, epoch, text, sample)).numpy().tobytes()
            for number in range(12)
            for seed, epoch, text, sample in [tuple(k if k is not None else number for k in key)]
        ]

    for key in ((None, 1, "a", 1), (1, None, "a", 1), (1, 1, None, 1), (1, 1, "a", None)):
        assert len(set(drawn(*key))) > 1


def test_a_wrapped_transform_is_as_random_as_the_original():
    flipped = sum(apply(TRANSFORMS["flip"], s) != IMAGES[s].numpy().tobytes() for s in range(40))
    assert 8 < flipped < 32


def test_only_those_that_draw_say_so():
    assert V2Transform(v2.RandomCrop(3)).draws
    assert V2Transform(v2.RandomHorizontalFlip()).draws
    assert not V2Transform(v2.Resize(8)).draws
    assert not V2Transform(v2.CenterCrop(8)).draws


def test_what_gives_no_uint8_image_is_refused():
    with pytest.raises(ParameterError, match="must be a transform that gives uint8 images"):
        V2Transform(v2.ToDtype(torch.float32, scale=True))(IMAGES[0], sample_generator(0, 0, "x", 0))
