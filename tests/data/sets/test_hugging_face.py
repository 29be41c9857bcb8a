"""Data sets of Hugging Face from folders; nothing is fetched."""

from __future__ import annotations

import sys

import pytest
import torch
from tests.images import encoded, picture, write_folder

from hookline.config.errors import ConfigError
from hookline.data import HuggingFace, decode

CONTENTS = [encoded(picture(n), "PNG") for n in range(10)]


@pytest.fixture
def datasets(monkeypatch, tmp_path):
    """The package, kept from the network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return pytest.importorskip("datasets")


def table(datasets, *numbers: int, names=("even", "odd")):
    label = datasets.ClassLabel(names=list(names)) if names else datasets.Value("string")
    rows = {
        "picture": [{"bytes": CONTENTS[n], "path": None} for n in numbers],
        "kind": [n % 2 if names else ("even", "odd")[n % 2] for n in numbers],
    }
    features = datasets.Features({"picture": datasets.Image(), "kind": label})
    return datasets.Dataset.from_dict(rows, features=features)


def both(name, **options) -> tuple[HuggingFace, HuggingFace]:
    train, val = (HuggingFace(split=split, name=str(name), **options) for split in ("train", "val"))
    train.check()
    val.check()
    return train, val


def test_a_saved_data_set_with_splits(datasets, tmp_path):
    splits = {"train": table(datasets, 0, 1, 2, 3), "test": table(datasets, 4, 5)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "set")
    train, val = both(tmp_path / "set")
    assert train.classes == ("even", "odd")
    assert (train.targets.tolist(), val.targets.tolist()) == ([0, 1, 0, 1], [0, 1])
    assert torch.equal(val.read(1), decode(CONTENTS[5]))
    assert val.name_of(1) == f"{tmp_path}/set: test/1"


def test_a_part_is_held_out_of_one_split(datasets, tmp_path):
    table(datasets, *range(10), names=()).save_to_disk(tmp_path / "set")
    train, val = both(tmp_path / "set", label="kind")
    assert (train.class_counts.tolist(), val.class_counts.tolist()) == ([4, 4], [1, 1])
    rows = [int(source.name_of(i).rpartition("/")[2]) for source in (train, val) for i in range(len(source))]
    assert sorted(rows) == list(range(10))
    images = [source.read(i) for source in (train, val) for i in range(len(source))]
    assert all(torch.equal(image, decode(CONTENTS[row])) for image, row in zip(images, rows, strict=True))


def test_a_folder_of_images(datasets, tmp_path):
    write_folder(tmp_path / "set" / "train")
    write_folder(tmp_path / "set" / "test", count=1)
    train, val = both(tmp_path / "set")
    assert (train.classes, len(train), len(val)) == (("cat", "dog"), 10, 2)
    assert train.read(0).shape == (3, 16, 24)


def test_columns_and_splits_that_are_not_there_are_told(datasets, tmp_path):
    table(datasets, *range(4)).save_to_disk(tmp_path / "set")
    for options, message in (
        ({"image": "img"}, "data.image=img: must be a column of .*; it has picture, kind"),
        ({"label": "coarse"}, "data.label=coarse: must be a column"),
        ({"val": "dev"}, "data.val=dev: .* has the splits train"),
    ):
        with pytest.raises(ConfigError, match=message):
            both(tmp_path / "set", **options)
    with pytest.raises(ConfigError, match=r"data\.name=.*nowhere: cannot be loaded"):
        both(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"data\.name: is missing"):
        HuggingFace(split="train").check()


def test_without_the_package_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"data=hf: needs the package datasets; install with: pip install"):
        HuggingFace(split="train", name="cifar10").check()
