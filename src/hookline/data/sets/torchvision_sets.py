"""Data sets of torchvision by name: small ones as tensors in memory, large ones as files on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hookline.config.checks import check_bool, check_choice
from hookline.config.errors import ConfigError, reason_of
from hookline.data.files import FileSource
from hookline.data.listed import Listing
from hookline.data.source import InMemorySource, Source
from hookline.data.splitting import HeldOut

BY_TRAIN: Mapping[str, Mapping[str, Any]] = {"train": {"train": True}, "val": {"train": False}}
DIGITS = tuple(map(str, range(10)))


def by_split(train: str, val: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the arguments of a data set whose parts have names."""
    return {"train": {"split": train}, "val": {"split": val}}


@dataclass(frozen=True)
class Known:
    """What is known of a data set of torchvision.

    Attributes:
        cls: the class in `torchvision.datasets`.
        splits: the arguments for each split; none where the data set has but one part, and a fraction validates.
        image_size: height and width of every image, of sets that are tensors in memory; None: files on disk.
        channels: channels of an image.
        classes: the names of the classes, where torchvision's class has none.
    """

    cls: str
    splits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    image_size: tuple[int, int] | None = None
    channels: int = 3
    classes: tuple[str, ...] = ()


SETS = {
    "cifar10": Known("CIFAR10", BY_TRAIN, (32, 32)),
    "cifar100": Known("CIFAR100", BY_TRAIN, (32, 32)),
    "mnist": Known("MNIST", BY_TRAIN, (28, 28), 1, DIGITS),
    "fashion_mnist": Known("FashionMNIST", BY_TRAIN, (28, 28), 1),
    "kmnist": Known("KMNIST", BY_TRAIN, (28, 28), 1),
    "qmnist": Known("QMNIST", BY_TRAIN, (28, 28), 1, DIGITS),
    "usps": Known("USPS", BY_TRAIN, (16, 16), 1, DIGITS),
    "svhn": Known("SVHN", by_split("train", "test"), (32, 32), 3, DIGITS),
    "stl10": Known("STL10", by_split("train", "test"), (96, 96)),
    "country211": Known("Country211", by_split("train", "valid")),
    "dtd": Known("DTD", by_split("train", "val")),
    "eurosat": Known("EuroSAT"),
    "fgvc_aircraft": Known("FGVCAircraft", by_split("trainval", "test")),
    "flowers102": Known("Flowers102", by_split("train", "val")),
    "food101": Known("Food101", by_split("train", "test")),
    "gtsrb": Known("GTSRB", by_split("train", "test"), classes=tuple(map(str, range(43)))),
    "imagenette": Known("Imagenette", by_split("train", "val")),
    "pets": Known("OxfordIIITPet", by_split("trainval", "test")),
    "stanford_cars": Known("StanfordCars", by_split("train", "test")),
    "sun397": Known("SUN397"),
}


class Opened:
    """A data set of torchvision, opened when it is first needed.

    Args:
        name: one of `SETS`.
        split: `train` or `val`.
        root: the folder that is torchvision's `root`.
        download: fetch what is missing.
    """

    def __init__(self, name: str, split: str, root: str, download: bool) -> None:
        self.name = name
        self.known = SETS[name]
        self.arguments = {"root": str(Path(root).expanduser()), **self.known.splits.get(split, {})}
        self.download = download

    @cached_property
    def dataset(self) -> Any:
        """The data set."""
        from torchvision import datasets

        make, root = getattr(datasets, self.known.cls), self.arguments["root"]
        try:
            return make(**self.arguments, **({"download": True} if self.download else {}))
        except (OSError, RuntimeError, ValueError) as error:
            if self.download:
                raise ConfigError(
                    f"data.download=true: {self.name} could not be fetched into {root}: {reason_of(error)}"
                ) from error
            raise ConfigError(
                f"data.root={root}: {self.name} is not there or damaged ({reason_of(error)}); give the"
                " folder that torchvision calls its root, or data.download=true"
            ) from error

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        if self.known.classes:
            return self.known.classes
        names = self.dataset.classes
        return tuple(name[0] if isinstance(name, tuple) else str(name) for name in names)


class TorchvisionTensors(InMemorySource):
    """A small data set of torchvision: its images are one tensor."""

    def __init__(self, opened: Opened, *, split: str) -> None:
        super().__init__(split=split)
        self.opened = opened
        self.channels = opened.known.channels
        self.image_size = opened.known.image_size

    @cached_property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names of the classes."""
        return self.opened.classes

    def load(self) -> tuple[Tensor, Tensor]:
        """Return the images, uint8 `[N, C, H, W]`, and the labels of the split."""
        dataset = self.opened.dataset
        images = torch.as_tensor(np.ascontiguousarray(dataset.data))
        labels = dataset.targets if hasattr(dataset, "targets") else dataset.labels
        targets = torch.as_tensor(np.asarray(labels)).long()
        if targets.ndim == 2:  # QMNIST says more of a digit than what it is
            targets = targets[:, 0]
        if images.ndim == 3:
            images = images.unsqueeze(1)
        elif images.shape[-1] == self.channels:
            images = images.permute(0, 3, 1, 2).contiguous()
        return images, targets


class TorchvisionFiles(FileSource):
    """A large data set of torchvision: its images are files."""

    def __init__(self, opened: Opened, *, split: str, held_out: HeldOut, channels: int) -> None:
        super().__init__(split=split, channels=channels)
        self.opened = opened
        self.held_out = held_out

    @property
    def folder(self) -> Path:
        """The folder that is torchvision's `root`."""
        return Path(self.opened.arguments["root"])

    def list_samples(self) -> Listing:
        """Return the samples of the split."""
        names, labels = zip(*self._pairs(), strict=True)
        if not self.opened.known.splits:
            kept = self.held_out.rows_of(self.split, names, labels)
            names, labels = tuple(names[i] for i in kept), tuple(labels[i] for i in kept)
        return Listing(self.opened.classes, names, torch.tensor(labels, dtype=torch.int64))

    def _pairs(self) -> list[tuple[str, int]]:
        """Return paths and labels, sorted by path: torchvision gives no access to them without opening the images."""
        dataset = self.opened.dataset
        found = getattr(dataset, "samples", None) or getattr(dataset, "_samples", None)
        if found is None:
            files = getattr(dataset, "_image_files", None) or dataset._images
            found = zip(files, dataset._labels, strict=True)
        return sorted((os.path.relpath(path, self.folder), int(label)) for path, label in found)


def torchvision_source(
    *,
    split: str,
    name: str | None = None,
    root: str = "data",
    download: bool = False,
    val_fraction: float = 0.2,
    split_seed: int = 0,
    channels: int = 3,
) -> Source:
    """Return a data set of torchvision: as tensors where it is small, else as files.

    Args:
        split: `train` or `val`.
        name: one of `SETS`.
        root: the folder that is torchvision's `root`.
        download: fetch what is missing.
        val_fraction: the share of each class that validates, where the data set has but one part.
        split_seed: chooses which images those are.
        channels: 3 for colour, 1 for grey, of sets that are files; the others are as they are.
    """
    check_choice("name", name, tuple(SETS))
    assert name is not None
    check_bool("download", download)
    opened, held_out = Opened(name, split, root, download), HeldOut(val_fraction, split_seed)
    if opened.known.image_size is not None:
        return TorchvisionTensors(opened, split=split)
    return TorchvisionFiles(opened, split=split, held_out=held_out, channels=channels)
