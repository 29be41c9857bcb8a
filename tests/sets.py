"""Small data sets of 32x32 images in the formats that the documents name, by the words that stand for them."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.images import encoded, picture, write_folder, write_picture

SQUARE = (32, 32)


def write_cifar(root: Path, cls: type, key: str, rows: int = 10) -> dict[str, np.ndarray]:
    """Write CIFAR's batches and names, and return the pixels of each file."""
    folder = root / cls.base_folder  # type: ignore[attr-defined]
    folder.mkdir(parents=True)
    random, files = np.random.default_rng(0), {}
    for file, _ in cls.train_list + cls.test_list:  # type: ignore[attr-defined]
        files[file] = random.integers(0, 256, (rows, 3072), dtype=np.uint8)
        (folder / file).write_bytes(pickle.dumps({"data": files[file], key: list(range(rows))}))
    names = {cls.meta["key"]: [f"class {number}" for number in range(rows)]}  # type: ignore[attr-defined]
    (folder / cls.meta["filename"]).write_bytes(pickle.dumps(names))  # type: ignore[attr-defined]
    return files


def write_splits(root: Path, classes: tuple[str, ...] = ("cat", "dog")) -> None:
    """Write folders for training and validation."""
    write_folder(root / "train", classes, count=8, size=SQUARE)
    write_folder(root / "val", classes, count=2, size=SQUARE)


def write_lists(root: Path) -> None:
    """Write the lists `train.txt` and `val.txt`, and their images."""
    write_splits(root / "listed")
    for split, count in (("train", 8), ("val", 2)):
        lines = [f"listed/{split}/{name}/{n}.jpg {name}\n" for name in ("cat", "dog") for n in range(count)]
        (root / f"{split}.txt").write_text("".join(lines))


def write_shards(root: Path) -> None:
    """Write a shard of a WebDataset for each split."""
    root.mkdir()
    for split, count in (("train", 16), ("val", 4)):
        with tarfile.open(root / f"{split}-000000.tar", "w") as file:
            for n in range(count):
                for name, content in ((f"{n}.jpg", encoded(picture(n, SQUARE))), (f"{n}.cls", str(n % 2).encode())):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    file.addfile(info, io.BytesIO(content))


def write_named(root: Path) -> None:
    """Write pictures whose names begin with their class."""
    for split, count in (("train", 20), ("val", 4)):
        for n in range(count):
            write_picture(root / split / f"{('cat', 'dog')[n % 2]}-{n}.png", n, size=SQUARE)


def write_npz(path: Path) -> None:
    """Write an array file of one split."""
    images = np.stack([np.asarray(picture(n, SQUARE)) for n in range(20)])
    np.savez(path, images=images, labels=np.arange(20) % 2)


def write_sets(root: Path) -> None:
    """Write CIFAR-10 and GTSRB as torchvision keeps them."""
    from torchvision.datasets import CIFAR10

    write_cifar(root, CIFAR10, "labels")
    folder = root / "gtsrb"
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"]
    for n in range(43):
        write_picture(folder / "GTSRB" / "Training" / f"{n:05d}" / "0.ppm", n, size=SQUARE)
        write_picture(folder / "GTSRB" / "Final_Test" / "Images" / f"{n:05d}.ppm", n, size=SQUARE)
        rows.append(f"{n:05d}.ppm;32;32;0;0;32;32;{n}\n")
    (folder / "GT-final_test.csv").write_text("".join(rows))


def write_hugging_face(root: Path) -> None:
    """Write a data set as `save_to_disk` does."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = [{"image": {"bytes": encoded(picture(n, SQUARE)), "path": None}, "label": n % 2} for n in range(20)]
    datasets.Dataset.from_list(rows, features=features).save_to_disk(root)


WRITERS: dict[str, Callable[[Path], None]] = {
    "data.root=FOLDER": lambda cwd: write_splits(cwd / "FOLDER"),
    "data.root=IMAGENET": lambda cwd: write_splits(cwd / "IMAGENET", ("n01440764", "n02012849")),
    "data.root=SHARDS": lambda cwd: write_shards(cwd / "SHARDS"),
    "data.root=SETS": lambda cwd: write_sets(cwd / "SETS"),
    "data=named": lambda cwd: write_named(cwd / "NAMED"),
    "data.train=train.txt": write_lists,
    "data.train=FILE.npz": lambda cwd: write_npz(cwd / "FILE.npz"),
    "data.name=NAME": lambda cwd: write_hugging_face(cwd / "NAME"),
}


def write_data_of(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Write into the working directory what a command reads; torchvision's checksums of the originals are not asked."""
    for word in words:
        if word in WRITERS:
            WRITERS[word](Path())
            monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: True)
