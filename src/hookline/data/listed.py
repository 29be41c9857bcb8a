"""Sources that know their samples from a list: names, labels and classes, made once and kept."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from hookline.config.checks import check_choice
from hookline.config.errors import ConfigError
from hookline.data.encoded import EncodedSource
from hookline.data.labels import some


@dataclass(frozen=True)
class Listing:
    """The samples of one split.

    Attributes:
        classes: the names of the classes, in the order of the labels.
        names: a name for each sample, which stays when the whole data set is moved.
        targets: the label of each sample, int64 `[N]`.
    """

    classes: tuple[str, ...]
    names: Sequence[str]
    targets: Tensor


class ListedSource(EncodedSource):
    """A source of encoded images that lists its samples when it is first asked for them.

    To add one, write `list_samples` and `read_bytes`.

    Args:
        split: `train` or `val`.
        channels: 3 for colour, 1 for grey; images are converted to it.
    """

    def __init__(self, *, split: str, channels: int = 3) -> None:
        super().__init__(split=split)
        check_choice("channels", channels, (1, 3))
        self.channels = channels

    @abstractmethod
    def list_samples(self) -> Listing:
        """Return the samples of `self.split`; called once.

        Raises:
            ConfigError: they cannot be listed, or validation has a class that training has not.
        """

    @cached_property
    def listing(self) -> Listing:
        """The samples."""
        return self.list_samples()

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names of the classes, in the order of the labels."""
        return self.listing.classes

    @property
    def targets(self) -> Tensor:
        """The label of every sample: int64 `[N]`."""
        return self.listing.targets

    def __len__(self) -> int:
        return len(self.listing.names)

    def name_of(self, index: int) -> str:
        """Return what a message calls a sample."""
        return self.listing.names[index]

    def fingerprint(self) -> str:
        """Return a short text that changes when samples are added, removed, renamed, reordered or labelled anew."""
        names = "\0".join([*self.classes, "", *self.listing.names]).encode("utf-8", "surrogateescape")
        crc = zlib.crc32(names, zlib.crc32(self.targets.numpy().tobytes()))
        return f"{len(self)}-{len(self.classes)}-{crc:08x}"

    def check(self) -> None:
        """Raise `ConfigError` where labels do not fit, a class has no training image, or a sample comes twice."""
        super().check()
        if self.split == "train":
            empty = [self.classes[i] for i in torch.nonzero(self.class_counts == 0).flatten().tolist()]
            if empty:
                raise ConfigError(
                    f"data: {len(empty)} of {len(self.classes)} classes have no training image: {some(empty)}"
                )
        if len(set(self.listing.names)) < len(self):
            twice = [name for name, count in Counter(self.listing.names).items() if count > 1]
            raise ConfigError(f"data: {len(twice)} of the {self.split} samples come more than once: {some(twice)}")
