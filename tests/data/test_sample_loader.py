"""Samples that are read one by one: the same batches for any workers, and no file or worker fails unnoticed."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from hookline.config.errors import ConfigError, ParameterError
from hookline.data import InMemoryLoader, Normalize, RandomCrop, RandomHorizontalFlip, SampleLoader, Source
from hookline.data.held import HeldSource
from hookline.data.mix import Mix
from hookline.data.sampler import Sampler, stratified
from hookline.data.transforms.sample import SampleTransform

COUNT = 45
ANY_WORKERS = [(0, "thread"), (1, "thread"), (4, "thread"), (2, "process")]


class Pictures(Source):
    """The PNG files of a folder, in order; the classes are 3."""

    classes = ("a", "b", "c")
    channels = 3

    def __init__(self, folder: Path, split: str = "train") -> None:
        super().__init__(split=split)
        self.files = sorted(folder.glob("*.png"))

    def __len__(self) -> int:
        return len(self.files)

    @property
    def targets(self) -> Tensor:
        return torch.arange(len(self)) % 3

    def read(self, index: int) -> Tensor:
        with Image.open(self.files[index]) as image:
            content = bytearray(image.convert("RGB").tobytes())
            return torch.frombuffer(content, dtype=torch.uint8).view(image.height, image.width, 3).permute(2, 0, 1)

    def name_of(self, index: int) -> str:
        return str(self.files[index])


class Cut(SampleTransform):
    """Cuts 6x6 pixels out at a random place."""

    def __call__(self, image, random):
        top, left = random.integers(image.shape[1] - 5), random.integers(image.shape[2] - 5)
        return image[:, top : top + 6, left : left + 6]


class Shift(SampleTransform):
    """Adds a random number to all pixels."""

    def __call__(self, image, random):
        return image + random.integers(256, dtype="uint8").item()


class Deadly(SampleTransform):
    """Kills the process that transforms an image whose first pixel is white."""

    draws = False

    def __call__(self, image, random):
        if bool((image[:, 0, 0] == 255).all()):
            os.kill(os.getpid(), signal.SIGKILL)
        return image


class Wait(SampleTransform):
    """Takes a while."""

    draws = False

    def __call__(self, image, random):
        time.sleep(0.1)
        return image[:, :7]


class Failing(SampleTransform):
    """Fails."""

    def __call__(self, image, random):
        raise KeyError("no such colour")


TRANSFORMS = {"cut": Cut(), "shift": Shift()}


def draw(folder: Path, number: int, size: tuple[int, int] = (9, 8), white: bool = False) -> Path:
    generator = torch.Generator().manual_seed(number)
    pixels = torch.randint(0, 255, (*size, 3), dtype=torch.uint8, generator=generator)
    if white:
        pixels[0, 0] = 255
    path = folder / f"{number:03d}.png"
    Image.fromarray(pixels.numpy()).save(path)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    for number in range(COUNT):
        draw(tmp_path, number, (7 + number % 3, 8))
    return tmp_path


def loader(folder: Path, **options) -> SampleLoader:
    given = {"batch_size": 10, "sample_transforms": TRANSFORMS, "shuffle": True} | options
    return SampleLoader(Pictures(folder), **given)


def content(loader: SampleLoader, epoch: int = 0, start: int = 0) -> list[tuple[Tensor, Tensor, Tensor]]:
    return [(batch.images, batch.targets, batch.indices) for batch in loader.batches(epoch, start)]


def assert_same(one, other) -> None:
    assert len(one) == len(other) > 0
    assert all(torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


def by_sample(loader: SampleLoader, epoch: int = 0) -> dict[int, Tensor]:
    return {int(i): image for images, _, indices in content(loader, epoch) for i, image in zip(indices, images)}  # noqa: B905


def left_over() -> list[object]:
    workers = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    return workers + multiprocessing.active_children()


@pytest.mark.parametrize(("workers", "kind"), ANY_WORKERS)
def test_batches_are_the_same_for_any_workers(folder, workers, kind):
    batched = {"crop": RandomCrop(1), "flip": RandomHorizontalFlip(), "normalize": Normalize([0.5] * 3, [0.2] * 3)}
    options = {"transforms": batched, "mix": Mix(mixup=0.2, cutmix=1.0, num_classes=3), "seed": 5}
    expected = loader(folder, **options)
    found = loader(folder, workers=workers, worker_type=kind, **options)
    assert_same(content(found, epoch=3), content(expected, epoch=3))
    assert_same(content(found, epoch=3, start=2), content(expected, epoch=3)[2:])


@pytest.mark.parametrize("batch_size", [1, 7, 45, 64])
def test_what_happens_to_a_sample_does_not_depend_on_the_batch(folder, batch_size):
    one, other = by_sample(loader(folder)), by_sample(loader(folder, batch_size=batch_size, workers=2))
    assert list(one) == list(other)
    assert all(torch.equal(one[i], other[i]) for i in one)


def test_epochs_seeds_and_names_draw_differently(folder):
    usual = by_sample(loader(folder))
    renamed = {"cut": Cut(), "other": Shift()}
    others = [
        by_sample(loader(folder), epoch=1),
        by_sample(loader(folder, seed=1)),
        by_sample(loader(folder, sample_transforms=renamed)),
    ]
    assert all(not torch.equal(other[i], usual[i]) for other in others for i in range(3))


def test_a_transform_before_another_leaves_what_that_draws(folder):
    shifted = by_sample(loader(folder, sample_transforms={"cut": Cut(), "shift": Shift()}))
    alone = by_sample(loader(folder, sample_transforms={"cut": Cut()}))
    differences = {i: (shifted[i] - alone[i]).unique() for i in alone}
    assert all(len(difference) == 1 for difference in differences.values())
    assert len({int(difference) for difference in differences.values()}) > 10


@pytest.mark.parametrize(("workers", "kind"), [(2, "thread"), (2, "process")])
def test_stopping_early_leaves_nothing_behind(folder, workers, kind):
    found = loader(folder, batch_size=3, workers=workers, worker_type=kind)
    before = set(left_over())
    batches = found.batches(0)
    first = next(batches)
    assert set(left_over()) > before
    batches.close()
    assert set(left_over()) == before
    again = next(found.batches(0))
    assert torch.equal(first.images, again.images)
    assert set(left_over()) == before


def test_no_more_is_read_than_the_batches_ahead(folder):
    class Counting(Pictures):
        count = 0

        def read(self, index):
            Counting.count += 1
            return super().read(index)

    batches = SampleLoader(Counting(folder), batch_size=4, sample_transforms=TRANSFORMS, workers=2).batches(0)
    next(batches)
    batches.close()  # which waits for what has begun
    assert Counting.count <= 1 + 3 * 4


def test_the_loop_keeps_its_threads_while_workers_have_one_each(folder):
    seen = set()

    class Look(Pictures):
        def read(self, index):
            seen.add(torch.get_num_threads())
            return super().read(index)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        content(SampleLoader(Look(folder), batch_size=20, workers=2, sample_transforms=TRANSFORMS))
        assert torch.get_num_threads() == 2
        content(SampleLoader(Look(folder), batch_size=20, workers=2, sample_transforms=TRANSFORMS))
    finally:
        torch.set_num_threads(before)
    assert seen == {1, 2}, "2 for the first image, which this thread reads to know the size of all"


def test_evaluation_under_inference_mode(folder):
    with torch.inference_mode():
        found = content(loader(folder, shuffle=False, workers=2))
    assert_same(found, content(loader(folder, shuffle=False)))


@pytest.mark.parametrize(("workers", "kind"), [(0, "thread"), (3, "thread"), (2, "process")])
def test_a_broken_file_is_named(folder, workers, kind):
    order = [int(i) for _, _, indices in content(loader(folder)) for i in indices]
    files = Pictures(folder).files
    for place in (17, 30):
        files[order[place]].write_bytes(files[order[place]].read_bytes()[:60])
    before = set(left_over())
    with pytest.raises(ConfigError) as error:
        content(loader(folder, workers=workers, worker_type=kind))
    assert str(files[order[17]]) in str(error.value), "the first one of the epoch"
    assert f"sample {order[17]} of the train split" in str(error.value)
    assert "truncated" in str(error.value) or "OSError" in str(error.value)
    assert set(left_over()) == before


@pytest.mark.parametrize(("workers", "kind"), [(2, "thread"), (2, "process")])
def test_a_failing_transform_names_itself_and_the_file(folder, workers, kind):
    found = loader(folder, workers=workers, worker_type=kind, sample_transforms={"cut": Cut(), "paint": Failing()})
    with pytest.raises(
        ConfigError, match=r"^augment\.train\.paint \(Failing\) cannot transform .*\.png .*3x6x6: KeyError.*colour"
    ):
        content(found)


class Returning(SampleTransform):
    """Returns what it is made with, or what that gives for the image; None ends the process, or tries to."""

    def __init__(self, result):
        self.result = result

    def __call__(self, image, random):
        return self.result(image) if callable(self.result) else self.result


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (lambda image: image / 255, "TypeError: it must return a uint8 tensor .*, not float32"),
        (lambda image: image[:, :0], r"not uint8 \[3, 0, 8\]"),
        (lambda image: image.numpy(), "not ndarray"),
        (None, "not NoneType"),
        (lambda image: sys.exit(3), "SystemExit: 3"),
    ],
)
def test_a_transform_that_returns_no_image_is_told(folder, result, told):
    with pytest.raises(ConfigError, match=rf"^augment\.train\.odd \(Returning\) cannot .*\.png.*: .*{told}"):
        content(loader(folder, sample_transforms={"odd": Returning(result)}, workers=2))


def test_images_of_different_sizes_are_told(folder):
    with pytest.raises(ConfigError, match=r"\.png \(sample \d+ of the train split\): the image is 3x\dx8"):
        content(loader(folder, sample_transforms={}, workers=2))


def test_an_image_with_another_number_of_channels_is_not_spread(folder):
    class Grey(Pictures):
        def read(self, index):
            image = super().read(index)
            return image[:1] if index == 20 else image

    with pytest.raises(ConfigError, match=r"020\.png.*Grey\.read must return 3 channels, not uint8 \[1, 9, 8\]"):
        content(SampleLoader(Grey(folder), batch_size=10, sample_transforms=TRANSFORMS))


def test_a_source_that_returns_something_else_is_told(folder):
    class Floats(Pictures):
        def read(self, index):
            return super().read(index) / 255

    for source in (Floats(folder), HeldSource(Floats(folder))):
        with pytest.raises(ConfigError, match=r"000\.png .*Floats\.read must return a uint8 tensor"):
            content(SampleLoader(source, batch_size=10))
    with pytest.raises(ConfigError, match=r"000\.png.*Floats\.read must return a uint8 tensor"):
        InMemoryLoader(Floats(folder), batch_size=10)


def test_a_source_that_exits_is_told_with_the_file(folder):
    class Exiting(Pictures):
        def read(self, index):
            sys.exit("no\nmore")

    with pytest.raises(ConfigError, match=r"^data: .*\d\.png .* cannot be read: SystemExit: no \(data.on_error"):
        content(SampleLoader(Exiting(folder), batch_size=10, workers=2))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_is_noticed_and_its_file_named(folder, workers):
    order = [int(i) for _, _, indices in content(loader(folder)) for i in indices]
    path = draw(folder, order[25], white=True)
    found = loader(folder, workers=workers, worker_type="process", sample_transforms={"deadly": Deadly(), "cut": Cut()})
    before = set(left_over())
    with pytest.raises(ConfigError, match=r"worker process \d+ was killed by SIGKILL at .*" + path.name):
        content(found)
    assert set(left_over()) == before


def test_a_server_that_is_killed_later_is_not_told_as_an_exit_of_its_workers(folder):
    found = loader(folder, batch_size=1, workers=2, worker_type="process", sample_transforms={"wait": Wait()})
    before = set(left_over())
    batches = found.batches(0, 0)
    next(batches)
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
    told = r"worker process \d+ ended with exit code 255, or the process that started it was killed"
    with pytest.raises(ConfigError, match=told):
        list(batches)
    assert set(left_over()) == before


def test_a_server_that_is_killed_while_it_forks_is_told(folder, monkeypatch):
    found = loader(folder, workers=1, worker_type="process")

    def killed(descriptor):
        raise EOFError("unexpected EOF")

    with monkeypatch.context() as patch:
        patch.setattr("multiprocessing.forkserver.read_signed", killed)
        with pytest.raises(
            ConfigError, match=r"data\.worker_type=process: the process that starts the workers was kill"
        ):
            content(found)
    assert len(content(found)) == len(found)


def test_what_cannot_be_sent_to_a_process_is_told(folder):
    class Local(Cut):
        pass

    with pytest.raises(ConfigError, match=r"data.worker_type=process: .*cannot be sent to a process.*Local"):
        content(loader(folder, workers=1, worker_type="process", sample_transforms={"x": Local()}))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_tells_how_much_of_its_own_share_was_replaced(rank, folder, caplog):
    Pictures(folder).files[12].write_bytes(b"nothing")
    list(loader(folder, shuffle=False, on_error="skip", rank=rank, processes=2).batches(0))
    told = [record.message for record in caplog.records if "had to be replaced" in record.message]
    share = "validation: 1 of 23 samples of process 0 had to be replaced (data.on_error=skip); broken: "
    assert told == [f"{share}{folder / '012.png'}"][rank:]


@pytest.mark.parametrize(("workers", "kind"), [(0, "thread"), (4, "thread"), (2, "process")])
def test_skipping_replaces_broken_files_and_keeps_the_length(folder, workers, kind, caplog):
    broken = [3, 11, 40]
    whole = content(loader(folder))
    for index in broken:
        Pictures(folder).files[index].write_bytes(b"")
    found = loader(folder, on_error="skip", workers=workers, worker_type=kind)
    with caplog.at_level(logging.WARNING, "hookline"):
        first = content(found)
        warned = [record.message for record in caplog.records]
        second = content(found, epoch=1)
        warned_again = [record.message for record in caplog.records[len(warned) :]]
    assert_same(first, content(loader(folder, on_error="skip", batch_size=10)))
    assert [len(x[0]) for x in first] == [len(x[0]) for x in whole]
    used, had = torch.cat([x[2] for x in first]), torch.cat([x[2] for x in whole])
    assert sorted(had[used != had].tolist()) == broken
    assert not set(used.tolist()) & set(broken)
    assert torch.equal(torch.cat([x[1] for x in first]), used % 3), "the labels are those of what was taken"
    assert sorted(found.broken) == broken
    files = [f"{index:03d}.png" for index in broken]
    assert [sum(name in text for text in warned[:-1]) for name in files] == [1, 1, 1]
    assert warned[-1].startswith("epoch 1: 3 of 45 samples had to be replaced")
    assert all(name in warned[-1] for name in files)
    assert [text.split(":")[0] for text in warned_again] == ["epoch 2"], "each file is told once"
    assert len(second) == len(first)


def test_in_an_evaluation_a_replaced_sample_does_not_count(folder):
    Pictures(folder).files[12].write_bytes(b"nothing")
    batches = list(loader(folder, shuffle=False, on_error="skip").batches(0))
    assert [batch.weights is None for batch in batches] == [True, False, True, True, True]
    assert batches[1].weights.tolist() == [1, 1, 0, 1, 1, 1, 1, 1, 1, 1]


def test_nothing_but_broken_files_ends_the_run(folder):
    for path in Pictures(folder).files:
        path.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"data\.on_error=skip: 20 samples in a row are broken"):
        content(loader(folder, on_error="skip"))


def test_repeated_samples_are_transformed_anew(folder):
    targets = Pictures(folder).targets
    found = loader(folder, sampler=Sampler(targets, shuffle=True, repeats=3), workers=2)
    (images, _, indices), *_ = content(found)
    assert indices[0] == indices[1] == indices[2] != indices[3]
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images[1], images[2])
    alone = by_sample(loader(folder))
    assert torch.equal(alone[int(indices[0])], images[0]), "the first time it is transformed as without repeats"


def test_a_state_fits_the_same_batches_only(folder):
    targets = Pictures(folder).targets
    chosen = {"sampler": Sampler(targets, shuffle=True, pool=stratified(targets, 0.5))}
    loader(folder, workers=3, **chosen).load_state_dict(loader(folder, **chosen).state_dict())
    with pytest.raises(ValueError, match="sampler was None and is 24 of 24 samples"):
        loader(folder, **chosen).load_state_dict(loader(folder).state_dict())
    with pytest.raises(ValueError, match="is None here"):
        loader(folder).load_state_dict(loader(folder, **chosen).state_dict())


@pytest.mark.parametrize(
    ("name", "value"), [("workers", -1), ("workers", 1.5), ("worker_type", "fork"), ("on_error", "ignore")]
)
def test_wrong_parameters_are_told(folder, name, value):
    with pytest.raises(ParameterError, match=f"^{name}="):
        loader(folder, **{name: value})


@pytest.mark.cuda
def test_batches_on_a_gpu_are_those_of_the_cpu(folder):
    batched = {"normalize": Normalize([0.5] * 3, [0.2] * 3)}
    found = content(loader(folder, workers=2, transforms=batched, device="cuda"))
    expected = content(loader(folder, transforms=batched))
    for one, other in zip(found, expected, strict=True):
        assert one[0].is_cuda
        torch.testing.assert_close(one[0].cpu(), other[0])
        assert torch.equal(one[1].cpu(), other[1])


@pytest.mark.cuda
@pytest.mark.parametrize(("workers", "worker_type"), ANY_WORKERS)
def test_batches_reach_a_gpu_without_waiting_for_it(folder, workers, worker_type):
    batched = {"crop": RandomCrop(padding=1), "normalize": Normalize([0.5] * 3, [0.2] * 3)}
    made = loader(folder, workers=workers, worker_type=worker_type, transforms=batched, device="cuda")
    expected = content(loader(folder, transforms=batched))
    list(made.batches(0))  # what the first batches set up may wait
    work = torch.rand(1024, 1024, device="cuda")
    found = []
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in made.batches(0):
            for _ in range(20):  # the GPU is behind, so that memory given away too early would be written over
                work = work @ work
            found.append((batch.images.clone(), batch.targets.clone()))
            del batch
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one[0].cpu(), other[0])
        assert torch.equal(one[1].cpu(), other[1])
