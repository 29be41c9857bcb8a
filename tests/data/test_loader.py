"""Batches: what is drawn for a sample depends on seed, epoch and sample alone; every sample comes once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hookline.config.errors import ConfigError, ParameterError
from hookline.data import Digits, InMemoryLoader, InMemorySource, Normalize, RandomCrop, RandomHorizontalFlip, Source
from hookline.data.mix import Mix
from hookline.data.transforms import Transform

IMAGES = torch.randint(0, 256, (50, 3, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
AUGMENT = {"crop": RandomCrop(2), "flip": RandomHorizontalFlip()}


class Images(InMemorySource):
    """These images, each of a class of its own."""

    image_size = (9, 7)

    def __init__(
        self, images: Tensor | None = IMAGES, targets: Tensor | None = None, classes: int | None = None
    ) -> None:
        super().__init__(split="train")
        count = 0 if images is None else len(images)
        self.given = images, torch.arange(count) if targets is None else targets
        self.classes = tuple(map(str, range(count if classes is None else classes)))

    def load(self):
        return self.given


def loader(source: Source | None = None, **options) -> InMemoryLoader:
    given = {"batch_size": 8, "transforms": AUGMENT, "shuffle": True} | options
    return InMemoryLoader(Images() if source is None else source, **given)


def by_sample(loader: InMemoryLoader, epoch: int = 0) -> dict[int, Tensor]:
    """Return the transformed image of each sample of one epoch, by its index, in the order in which they come."""
    return {
        int(index): image
        for batch in loader.batches(epoch)
        for index, image in zip(batch.indices, batch.images, strict=True)
    }


def assert_same(one: dict[int, Tensor], other: dict[int, Tensor]) -> None:
    assert list(one) == list(other)
    assert all(torch.equal(one[i], other[i]) for i in one)


@settings(max_examples=20, deadline=None)
@given(batch_size=st.integers(1, 60), seed=st.integers(0, 2**31), epoch=st.integers(0, 1000))
def test_augmentation_does_not_depend_on_the_batch(batch_size, seed, epoch):
    one, other = loader(seed=seed), loader(seed=seed, batch_size=batch_size)
    assert_same(by_sample(one, epoch), by_sample(other, epoch))


class Noise(RandomCrop):
    """Draws like a crop and changes nothing."""

    draws = 3

    def __call__(self, images, uniform):
        return images


def test_a_transform_put_before_another_leaves_what_that_draws_as_it_was():
    crop, flip = AUGMENT["crop"], AUGMENT["flip"]
    alone = by_sample(loader(transforms={"crop": crop}))
    assert_same(by_sample(loader(transforms={"noise": Noise(), "crop": crop})), alone)
    assert_same(by_sample(loader(transforms={"crop": crop, "noise": Noise()})), alone)
    # A flip before the crop changes the images, and neither who is flipped nor where each is cropped.
    both, flipped = (
        by_sample(loader(transforms={"flip": flip, "crop": crop})),
        by_sample(loader(transforms={"flip": flip})),
    )
    draws = {i: not torch.equal(image, IMAGES[i]) for i, image in flipped.items()}
    assert 0 < sum(draws.values()) < 50
    mirrored = torch.stack([IMAGES[i].flip(-1) if draws[i] else IMAGES[i] for i in range(50)])
    assert_same(by_sample(loader(Images(mirrored), transforms={"crop": crop})), both)


class Look(Noise):
    """Keeps what it is given to draw from."""

    def __init__(self):
        self.given = []

    def __call__(self, images, uniform):
        self.given.append(uniform)
        return images


def test_two_transforms_of_one_class_draw_their_own():
    list(loader(transforms={"one": (one := Look()), "other": (other := Look())}).batches(0))
    assert not any(torch.equal(a, b) for a, b in zip(one.given, other.given, strict=True))


def test_augmentation_does_not_depend_on_the_order_of_the_samples():
    shuffled, straight = by_sample(loader()), by_sample(loader(shuffle=False))
    assert list(shuffled) != list(straight)
    assert_same(dict(sorted(shuffled.items())), straight)


def test_what_ran_before_does_not_matter():
    fresh, used = loader(), loader()
    for epoch in range(3):
        torch.rand(epoch + 1)
        list(used.batches(epoch))
    assert_same(by_sample(fresh, 7), by_sample(used, 7))


def test_epochs_and_seeds_differ():
    orders = [list(by_sample(*each)) for each in ((loader(), 0), (loader(), 1), (loader(seed=1), 0))]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert all(sorted(order) == list(range(50)) for order in orders)
    crops = [by_sample(loader(shuffle=False, seed=seed), epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert not torch.equal(torch.stack([*crops[0].values()]), torch.stack([*crops[1].values()]))
    assert not torch.equal(torch.stack([*crops[0].values()]), torch.stack([*crops[2].values()]))


def test_every_sample_has_its_own_draws():
    same = loader(Images(IMAGES[:1].expand(50, -1, -1, -1)), batch_size=50, shuffle=False)
    images = next(same.batches(0)).images
    assert len({tuple(image.flatten().tolist()) for image in images}) > 20


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [16, 16, 16, 2]), (True, [16, 16, 16])])
def test_batch_sizes(drop_last, sizes):
    batches = loader(batch_size=16, drop_last=drop_last)
    assert [len(batch) for batch in batches.batches(0)] == sizes
    assert len(batches) == len(sizes)


def test_a_batch_holds_the_targets_of_its_samples():
    labels = torch.arange(50) % 7
    for batch in loader(Images(targets=labels)).batches(3):
        assert torch.equal(batch.targets, labels[batch.indices])
        assert batch.weights is None


NORMALIZED = AUGMENT | {"normalize": Normalize([0.5] * 3, [0.5] * 3)}
MIXES = {"none": None, "both": Mix(mixup=0.8, cutmix=1.0, num_classes=50)}


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("start", [0, 1, 5, 6, 7])
def test_an_epoch_can_be_entered_anywhere(mix, start):
    whole = list(loader(transforms=NORMALIZED, mix=MIXES[mix]).batches(2))
    rest = list(loader(transforms=NORMALIZED, mix=MIXES[mix]).batches(2, start))
    assert len(rest) == 7 - start
    for got, expected in zip(rest, whole[start:], strict=True):
        for field in ("images", "targets", "indices"):
            assert torch.equal(getattr(got, field), getattr(expected, field))


@pytest.mark.parametrize(("processes", "batch_size"), [(2, 8), (2, 9), (3, 9)])
def test_the_shares_of_all_processes_are_the_batches_of_one(processes, batch_size):
    whole = list(loader(batch_size=batch_size).batches(1))
    shares = [
        list(loader(batch_size=batch_size, rank=rank, processes=processes).batches(1)) for rank in range(processes)
    ]
    assert all(len(share) == len(whole) for share in shares)
    for number, expected in enumerate(whole):
        parts = [share[number] for share in shares]
        assert len(expected) == sum(len(part) for part in parts)
        found = {int(i): image for part in parts for i, image in zip(part.indices, part.images, strict=True)}
        assert sorted(found) == sorted(expected.indices.tolist())
        assert all(
            torch.equal(found[int(i)], image) for i, image in zip(expected.indices, expected.images, strict=True)
        )


def test_the_global_generators_are_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    list(loader(transforms=NORMALIZED, mix=MIXES["both"]).batches(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_normalization_of_real_images():
    mean, std = 0.3, 0.38  # about what the digits have
    pixels = torch.cat([batch.images for batch in normalized(mean, std).batches(0)])
    assert pixels.shape == (360, 1, 8, 8)
    assert abs(pixels.mean()) < 0.1
    assert abs(pixels.std() - 1) < 0.3


def normalized(mean: float, std: float) -> InMemoryLoader:
    return InMemoryLoader(Digits(split="val"), batch_size=64, transforms={"normalize": Normalize([mean], [std])})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 51, "drop_last": True}, "batch_size=51: must be at most 50, the images, with drop_last=true"),
        ({"drop_last": 1}, "drop_last=1"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(ParameterError, match=message):
        loader(**options)


def test_the_state_tells_other_batches_apart():
    state = loader().state_dict()
    loader().load_state_dict(state)
    others = {
        "source": loader(Images(targets=torch.zeros(50, dtype=torch.long))),
        "batch_size": loader(batch_size=9),
        "seed": loader(seed=1),
    }
    for name, other in others.items():
        with pytest.raises(ValueError, match=f"{name} was .* and is .* here"):
            other.load_state_dict(state)


class Mixed(Source):
    """Images that are read one by one; some may be larger than the others."""

    classes = ("a", "b")

    def __init__(self, larger: int = 0) -> None:
        super().__init__(split="val")
        self.larger = larger

    def __len__(self):
        return 4

    @property
    def targets(self):
        return torch.tensor([0, 1, 0, 1])

    def read(self, index):
        return torch.full((3, 2 + (index < self.larger), 2), index, dtype=torch.uint8)


def test_any_source_can_be_held_in_memory():
    images = next(InMemoryLoader(Mixed(), batch_size=4).batches(0)).images
    assert images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    with pytest.raises(ConfigError, match=r"data: the images of Mixed differ in size \(3x2x2, 3x3x2, \.\.\.\)"):
        InMemoryLoader(Mixed(larger=1), batch_size=4)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Images(IMAGES[:0], classes=2), "data: Images has no training images"),
        (Images(targets=torch.arange(49)), "data: Images has 50 training images but 49 labels"),
        (Images(classes=20), "data: Images has the training label 49; with 20 classes it must be 0 to 19"),
        (Images(targets=torch.zeros(50, dtype=torch.int64), classes=1), "data: Images has the class '0' only"),
        (Images(targets=[0] * 50), r"data: Images\.targets must be an int64 tensor \[N\], not list"),
        (Images(targets=torch.zeros(50)), r"data: Images\.targets must be an int64 tensor \[N\], not float32 \[50\]"),
        (Images(IMAGES / 255), r"data: Images must have uint8 images .*, not float32 \[50"),
        (Images(IMAGES[:, :, :0]), r"data: Images must have uint8 images .* with pixels"),
        (Images(None, classes=2), "data: Images cannot say what it has: TypeError"),
        (Images(targets=torch.arange(50) - 1), "data: Images has the training label -1; with 50 classes"),
    ],
)
def test_labels_that_do_not_fit_are_told(source, message):
    with pytest.raises(ConfigError, match=message):
        loader(source)


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (lambda images: None, r"TypeError: it must return 8 images \[B, C, H, W\], not NoneType"),
        (lambda images: images[:4], r"TypeError: it must return 8 images \[B, C, H, W\], not uint8 \[4, 3, 9, 7\]"),
        (lambda images: images.nope, "AttributeError: .*nope"),
    ],
)
def test_a_batched_transform_that_fails_names_itself(result, told):
    class Odd(Transform):
        def __call__(self, images, uniform):
            return result(images)

    with pytest.raises(ConfigError, match=rf"data: the transform odd \(Odd\) cannot take .*3x9x7 images: {told}"):
        list(loader(transforms={"odd": Odd()}).batches(0))


def test_validation_takes_no_random_transform_and_has_none(runner):
    made = runner()
    assert not any(transform.draws for transform in made.val_loader.transforms.values())
    assert any(transform.draws for transform in made.train_loader.transforms.values())
    with pytest.raises(ConfigError, match=r"data\.transforms\.flip"):
        runner("+data.transforms.flip._target_=hookline.data.RandomHorizontalFlip")


@pytest.mark.cuda
def test_the_device_makes_no_difference():
    a, b = by_sample(loader()), by_sample(loader(device="cuda"))
    assert_same(a, {index: image.cpu() for index, image in b.items()})
