"""What a data set is: a labelled, indexable collection of images."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from hookline.config.checks import check_choice
from hookline.config.errors import ConfigError, first_line, told_of

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
        try:
            count, classes, targets = len(self), self.classes, self.targets
        except ConfigError:
            raise
        except (Exception, SystemExit) as error:  # whatever a source of somebody's raises
            raise ConfigError(f"data: {name} cannot say what it has: {first_line(told_of(error))}") from error
        if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.ndim != 1:
            raise ConfigError(f"data: {name}.targets must be an int64 tensor [N], not {described(targets)}")
        if count == 0:
            raise ConfigError(f"data: {name} has no {part} images")
        if self.split == "train" and len(classes) < 2:
            found = f"the class {classes[0]!r} only" if len(classes) else "no class"
            raise ConfigError(f"data: {name} has {found}; there must be two or more")
        if count != len(targets):
            raise ConfigError(f"data: {name} has {count} {part} images but {len(targets)} labels")
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= len(classes):
            wrong = low if low < 0 else high
            raise ConfigError(
                f"data: {name} has the {part} label {wrong}; with {len(classes)} classes it must be 0 to"
                f" {len(classes) - 1}"
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

    def check(self) -> None:
        """Raise `ConfigError` where labels and images do not fit each other or the classes, or are of another form."""
        super().check()
        images = self.images
        if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.ndim != 4 or not images.numel():
            name = type(self).__name__
            raise ConfigError(f"data: {name} must have uint8 images [N, C, H, W] with pixels, not {described(images)}")


def read_image(source: Source, index: int) -> Tensor:
    """Return the image of a sample as the source reads it: uint8 `[C, H, W]`.

    Raises:
        TypeError: what it reads is something else, or has another number of channels; and whatever the source raises.
    """
    image = source.read(index)
    check_image(image, f"{type(source).__name__}.read")
    if len(image) != source.channels:
        raise TypeError(f"{type(source).__name__}.read must return {source.channels} channels, not {described(image)}")
    return image


def check_image(image: object, who: str) -> None:
    """Raise `TypeError` unless `who` has returned an image, uint8 `[C, H, W]`, with at least a pixel."""
    if not isinstance(image, Tensor) or image.dtype != torch.uint8 or image.ndim != 3 or not image.numel():
        raise TypeError(f"{who} must return a uint8 tensor [C, H, W], not {described(image)}")


def described(value: object) -> str:
    """Return what kind of thing a value is, a tensor's type and shape."""
    if isinstance(value, Tensor):
        return f"{value.dtype} {list(value.shape)}".removeprefix("torch.")
    return type(value).__name__
