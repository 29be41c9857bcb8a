"""The IDX files, wherever and however they lie."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
import torch

from hookline.config.errors import ConfigError
from hookline.data import FashionMNIST
from hookline.data.sets.fashion_mnist import DEBIAN
from hookline.data.sets.idx import read_idx
from hookline.data.statistics import mean_and_std_of


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("inner", [".", "FashionMNIST/raw"])
def test_layouts(idx_folder, tmp_path, suffix, inner):
    root = tmp_path / "root"
    idx_folder(root / inner, suffix)
    train, val = (FashionMNIST(split=split, root=str(root)) for split in ("train", "val"))
    assert train.images.shape == (40, 1, *train.image_size)
    assert torch.equal(val.targets, torch.arange(20) % 10)


def test_home_folder(idx_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    idx_folder(tmp_path / "sets")
    assert len(FashionMNIST(split="train", root="~/sets")) == 40


def test_download_is_torchvisions(idx_folder, tmp_path, monkeypatch):
    def fake(root, *, download):
        assert download
        idx_folder(Path(root) / "FashionMNIST" / "raw")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", fake)
    data = FashionMNIST(split="train", root=str(tmp_path / "new"), download=True)
    assert len(data) == 40


def test_nothing_is_read_before_it_is_needed(tmp_path):
    data = FashionMNIST(split="train", root=str(tmp_path / "nothing"))
    assert (len(data.classes), data.channels, data.image_size) == (10, 1, (28, 28))
    with pytest.raises(ConfigError, match="there is no such folder"):
        len(data)


def test_failed_download(tmp_path, monkeypatch):
    def fake(root, *, download):
        raise RuntimeError("no route")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", fake)
    with pytest.raises(ConfigError, match="no route"):
        len(FashionMNIST(split="val", root=str(tmp_path), download=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x08\x02\0\0\0\x01\0\0\0\x01\x05", "not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\x01\x05\0\0\0", "not an IDX file"),
        (b"\0\0\x08\x01\0\0\0\x02\x05", "truncated"),
        (b"\0\0\x08\x01\0\0\0\x02\x05\x06\x07", "too long"),
    ],
)
def test_bad_files(tmp_path, content, message):
    for path, data in ((tmp_path / "labels", content), (tmp_path / "labels.gz", gzip.compress(content))):
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=message):
            read_idx(path, 1)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_real_one():
    train, val = FashionMNIST(split="train"), FashionMNIST(split="val")
    assert train.images.shape == (60_000, 1, 28, 28)
    assert torch.equal(val.class_counts, torch.full((10,), 1000))
    mean, std = mean_and_std_of(train)
    assert mean == pytest.approx([0.2860], abs=1e-4)
    assert std == pytest.approx([0.3530], abs=1e-4)


@pytest.mark.parametrize("shape", [(40, 0, 0), (0, 28, 28), (2**32 - 1,) * 3])
def test_files_of_no_or_too_many_pixels(shape, tmp_path):
    path = tmp_path / "images"
    path.write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, *shape))
    with pytest.raises(ConfigError, match=f"^data.root: {path} (holds nothing|is truncated)"):
        read_idx(path, 3)
