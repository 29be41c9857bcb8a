"""What a data set is: a labelled, indexable collection of images."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from hookline.config.checks import check_choice
from hookline.config.errors import ConfigError

SPLITS = ("train", "val")
# What messages and charts call them.
WORDS = {"train": "training", "val": "validation"}


class Source(ABC):
    """A labelled, indexable collection of images: one split of a data set.

    It opens nothing when it is made, so that a command which only needs the classes is quick, and it knows no device:
    a loader makes batches of it and puts them where they are needed.

    To add one, subclass it, set `classes` and `channels`, and write `__len__`, `targets` and `read`; or subclass
    `InMemorySource` for data that fit into memory.

    Args:
        split: `train` or `val`.

    Attributes:
        classes: the names of the classes, in the order of the labels.
        channels: channels of an image.
        image_size: height and width of every image; None where they differ or are not known before reading.
    """

    classes: tuple[str, ...]
    channels: int = 3
    image_size: tuple[int, int] | None = None

    def __init__(self, *, split: str) -> None:
        check_choice("split", split, SPLITS)
        self.split = split

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @property
    @abstractmethod
    def targets(self) -> Tensor:
        """The label of every sample: int64 `[N]`, each from 0 to `len(classes) - 1`."""

    @abstractmethod
    def read(self, index: int) -> Tensor:
        """Return the image of a sample: uint8 `[C, H, W]`; several threads may read at once."""

    def name_of(self, index: int) -> str:
        """Return what a message calls a sample: its file, where it has one."""
        return f"sample {index}"

    def files(self) -> Iterator[str]:
        """Yield the files that the images come from: when one of them changes, what was made of them is out of date.

        By default these are the samples' names, of which those that are no files are passed over.
        """
        return map(self.name_of, range(len(self)))

    @property
    def class_counts(self) -> Tensor:
        """The number of samples of each class: int64 `[classes]`."""
        return torch.bincount(self.targets, minlength=len(self.classes))

    @cached_property
    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of the pixels, per channel; see `mean_and_std_of`. Both loaders ask for them."""
        from hookline.data.statistics import mean_and_std_of

        return mean_and_std_of(self)

    def fingerprint(self) -> str:
        """Return a short text that changes when samples are added, removed, reordered or labelled anew."""
        return f"{len(self)}-{len(self.classes)}-{zlib.crc32(self.targets.numpy().tobytes()):08x}"

    def check(self) -> None:
        """Raise `ConfigError` where labels and images do not fit each other or the classes."""
        name, part = type(self).__name__, WORDS[self.split]
        targets = self.targets
        if len(self) == 0:
            raise ConfigError(f"data: {name} has no {part} images")
        if len(self) != len(targets):
            raise ConfigError(f"data: {name} has {len(self)} {part} images but {len(targets)} labels")
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= len(self.classes):
            wrong = low if low < 0 else high
            raise ConfigError(
                f"data: {name} has the {part} label {wrong}; with {len(self.classes)} classes it must be 0 to"
                f" {len(self.classes) - 1}"
            )


class InMemorySource(Source):
    """A source whose images are one tensor.

    To add one, subclass it, set `classes`, `channels` and, if you can, `image_size`, and write `load`.

    Args:
        split: `train` or `val`.
    """

    @abstractmethod
    def load(self) -> tuple[Tensor, Tensor]:
        """Return the images, uint8 `[N, C, H, W]`, and the labels, int64 `[N]`, of `self.split`; called once."""

    @cached_property
    def _tensors(self) -> tuple[Tensor, Tensor]:
        return self.load()

    @property
    def images(self) -> Tensor:
        """All images: uint8 `[N, C, H, W]`."""
        return self._tensors[0]

    @property
    def targets(self) -> Tensor:
        """The label of every sample: int64 `[N]`."""
        return self._tensors[1]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> Tensor:
        """Return the image of a sample: uint8 `[C, H, W]`."""
        return self.images[index]
