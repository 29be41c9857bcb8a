"""Data sets of torchvision, from tiny files in the format of each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from tests.conftest import write_idx
from tests.images import write_folder, write_picture
from tests.sets import write_cifar
from torchvision.datasets import CIFAR10, CIFAR100, STL10, SVHN, Flowers102

from hookline.config.errors import ConfigError, ParameterError
from hookline.data import InMemorySource, decode, torchvision_source

RANDOM = np.random.default_rng(0)


def bytes_of(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def both(name: str, root: Path, **options):
    train, val = (torchvision_source(split=split, name=name, root=str(root), **options) for split in ("train", "val"))
    train.check()
    val.check()
    return train, val


@pytest.fixture
def any_checksum(monkeypatch):
    """Let files pass that are not the originals."""
    for module in ("cifar", "stl10", "svhn", "flowers102"):
        monkeypatch.setattr(
            f"torchvision.datasets.{module}.check_integrity", lambda path, md5=None: Path(path).is_file()
        )


@pytest.mark.parametrize(
    ("name", "cls", "key"), [("cifar10", CIFAR10, "labels"), ("cifar100", CIFAR100, "fine_labels")]
)
@pytest.mark.usefixtures("any_checksum")
def test_cifar(tmp_path, name, cls, key):
    files = write_cifar(tmp_path, cls, key)
    names = [f"class {number}" for number in range(10)]
    train, val = both(name, tmp_path)
    assert isinstance(train, InMemorySource)
    assert (train.classes, train.image_size, train.channels) == (tuple(names), (32, 32), 3)
    assert len(train) == 10 * len(cls.train_list)
    first = next(iter(files.values()))
    assert torch.equal(train.read(3), torch.from_numpy(first[3].reshape(3, 32, 32)))
    assert val.targets.tolist() == list(range(10))


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("kmnist", "KMNIST"), ("fashion_mnist", "FashionMNIST")]
)
def test_mnist_and_its_successors(tmp_path, name, folder):
    images = {"train": bytes_of(30, 28, 28), "t10k": bytes_of(10, 28, 28)}
    for part, pixels in images.items():
        write_idx(tmp_path / folder / "raw" / f"{part}-images-idx3-ubyte", pixels)
        write_idx(tmp_path / folder / "raw" / f"{part}-labels-idx1-ubyte", np.arange(len(pixels)) % 10)
    train, val = both(name, tmp_path)
    assert (len(train.classes), train.channels, train.image_size) == (10, 1, (28, 28))
    assert torch.equal(val.read(4), torch.from_numpy(images["t10k"][4]).unsqueeze(0))
    assert train.targets.tolist() == [n % 10 for n in range(30)]


@pytest.mark.usefixtures("any_checksum")
def test_svhn(tmp_path):
    pixels = bytes_of(32, 32, 3, 10)
    for split in ("train", "test"):
        savemat(tmp_path / SVHN.split_list[split][1], {"X": pixels, "y": np.arange(1, 11)[:, None]})
    train, val = both("svhn", tmp_path)
    assert torch.equal(train.read(2), torch.from_numpy(pixels[..., 2]).permute(2, 0, 1))
    assert val.targets.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]  # its label of a nought is 10


@pytest.mark.usefixtures("any_checksum")
def test_stl10(tmp_path):
    folder = tmp_path / STL10.base_folder
    folder.mkdir()
    pixels = bytes_of(10, 3, 96, 96)
    for (images, _), (labels, _) in ((STL10.train_list[0], STL10.train_list[1]), STL10.test_list):
        pixels.tofile(folder / images)
        np.arange(1, 11, dtype=np.uint8).tofile(folder / labels)
    (folder / STL10.train_list[2][0]).write_bytes(b"")
    (folder / STL10.class_names_file).write_text("".join(f"class {n}\n" for n in range(10)))
    train, val = both("stl10", tmp_path)
    assert (train.image_size, train.classes[9], val.targets.tolist()) == ((96, 96), "class 9", list(range(10)))
    # It stores columns first.
    assert torch.equal(train.read(1), torch.from_numpy(pixels[1]).transpose(1, 2))


@pytest.mark.usefixtures("any_checksum")
def test_flowers102(tmp_path):
    folder = tmp_path / "flowers-102"
    for number in range(1, 205):
        write_picture(folder / "jpg" / f"image_{number:05d}.jpg", number)
    labels = np.repeat(np.arange(1, 103), 2)
    savemat(folder / Flowers102._file_dict["label"][0], {"labels": labels})
    savemat(
        folder / Flowers102._file_dict["setid"][0],
        {"trnid": np.arange(1, 205, 2), "valid": np.arange(2, 205, 2), "tstid": [1]},
    )
    train, val = both("flowers102", tmp_path)
    assert not isinstance(train, InMemorySource)
    assert train.classes[0] == "pink primrose"
    assert val.targets.tolist() == list(range(102))
    assert val.name_of(0) == str(folder / "jpg" / "image_00002.jpg")
    assert torch.equal(train.read(1), decode((folder / "jpg" / "image_00003.jpg").read_bytes()))


def test_food101(tmp_path):
    folder = tmp_path / "food-101"
    write_folder(folder / "images", ("apple_pie", "waffles"), count=3)
    (folder / "meta").mkdir()
    for split, numbers in (("train", (0, 1)), ("test", (2,))):
        listed = {name: [f"{name}/{number}" for number in numbers] for name in ("apple_pie", "waffles")}
        (folder / "meta" / f"{split}.json").write_text(json.dumps(listed))
    train, val = both("food101", tmp_path)
    assert (train.classes, train.targets.tolist(), val.targets.tolist()) == (
        ("apple_pie", "waffles"),
        [0, 0, 1, 1],
        [0, 1],
    )
    assert val.read(1).shape == (3, 16, 24)
    assert both("food101", tmp_path, channels=1)[0].read(0).shape == (1, 16, 24)


def test_pets(tmp_path):
    folder = tmp_path / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    for number in range(1, 5):
        for breed in ("Abyssinian", "american_bulldog"):
            write_picture(folder / "images" / f"{breed}_{number}.jpg", number)
    for split, numbers in (("trainval", (1, 2, 3)), ("test", (4,))):
        rows = [f"{b}_{n} {i + 1} 1 1\n" for i, b in enumerate(("Abyssinian", "american_bulldog")) for n in numbers]
        (folder / "annotations" / f"{split}.txt").write_text("".join(rows))
    train, val = both("pets", tmp_path)
    assert train.classes == ("Abyssinian", "American Bulldog")
    assert (train.class_counts.tolist(), val.targets.tolist()) == ([3, 3], [0, 1])


def test_a_set_of_one_part_is_split(tmp_path):
    write_folder(tmp_path / "eurosat" / "2750", ("Forest", "River"), count=10)
    train, val = both("eurosat", tmp_path, val_fraction=0.3)
    assert (train.class_counts.tolist(), val.class_counts.tolist()) == ([7, 7], [3, 3])
    assert train.classes == ("Forest", "River")


@pytest.mark.parametrize("name", ["cifar10", "mnist", "food101", "pets", "gtsrb"])
def test_what_is_not_there_is_told(tmp_path, name):
    source = torchvision_source(split="train", name=name, root=str(tmp_path))
    with pytest.raises(ConfigError, match=rf"data\.root=.*: {name} is not there or damaged .* or data\.download=true"):
        source.check()


def test_a_download_that_fails_is_told(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("no route")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fail)
    with pytest.raises(ConfigError, match=r"data\.download=true: mnist could not be fetched"):
        torchvision_source(split="train", name="mnist", root=str(tmp_path), download=True).check()


def test_names_that_are_none():
    for name in (None, "cifar11"):
        with pytest.raises(ParameterError, match=r"name=.*: must be one of cifar10, cifar100"):
            torchvision_source(split="train", name=name)
