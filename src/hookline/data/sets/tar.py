"""Images in tar files: WebDataset's shards, or folders packed as they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from hookline.config.errors import ConfigError
from hookline.data.files import existing_folder
from hookline.data.labels import number_labels, read_class_names
from hookline.data.listed import ListedSource, Listing
from hookline.data.splitting import HeldOut
from hookline.data.tar_index import tar_index


class Member(NamedTuple):
    """An image in a tar file."""

    tar: Path
    name: str
    label: str
    offset: int
    size: int


class Tar(ListedSource):
    """Images in plain tar files, read in any order from where an index says that they lie.

    In a WebDataset a sample is an image and a `.cls` or `.json` of the same name with its label; in any other tar file
    the folder that an image lies in is its class.

    Args:
        split: `train` or `val`.
        root: the folder of the tar files.
        train: a pattern of the names of the training split's tar files.
        val: the same of validation; None: `val_fraction` of each class validates.
        class_names: a file of class names, one a line, or `name number`.
        index_dir: where the indices are kept; None: beside the tar files.
        val_fraction: the share of each class that validates, where `val` is None.
        split_seed: chooses which images those are; the run's seed has no part in it.
        channels: 3 for colour, 1 for grey.
    """

    def __init__(
        self,
        *,
        split: str,
        root: str | None = None,
        train: str = "train*.tar",
        val: str | None = "val*.tar",
        class_names: str | None = None,
        index_dir: str | None = None,
        val_fraction: float = 0.2,
        split_seed: int = 0,
        channels: int = 3,
    ) -> None:
        super().__init__(split=split, channels=channels)
        self.root = root
        self.train = train
        self.val = val
        self.class_names = class_names
        self.index_dir = Path(index_dir).expanduser() if index_dir else None
        self.held_out = HeldOut(val_fraction, split_seed)

    def list_samples(self) -> Listing:
        """Return the samples of the split."""
        names = None
        if self.class_names:
            names = read_class_names(Path(self.class_names).expanduser(), "data.class_names")
        own = self.members
        training = own if self.split == "train" else self._members("train")
        classes, targets = number_labels([m.label for m in own], [m.label for m in training], names)
        return Listing(classes, [f"{member.tar.name}/{member.name}" for member in own], targets)

    def name_of(self, index: int) -> str:
        """Return the tar file and the member's name."""
        return f"{self.members[index].tar}: {self.members[index].name}"

    def files(self) -> Iterator[str]:
        """Yield the tar files that the images lie in."""
        return iter(dict.fromkeys(str(member.tar) for member in self.members))

    def read_bytes(self, index: int) -> bytes:
        """Return the sample's encoded image."""
        member = self.members[index]
        # It is opened for each image, as files in folders are: nothing is kept that threads or processes would share.
        file = os.open(member.tar, os.O_RDONLY)
        try:
            return os.pread(file, member.size, member.offset)
        finally:
            os.close(file)

    @cached_property
    def members(self) -> list[Member]:
        """The samples of the split."""
        return self._members(self.split)

    def _members(self, split: str) -> list[Member]:
        pattern = self.val if split == "val" and self.val is not None else self.train
        found = [
            Member(tar, *member)
            for tar in self._tars(pattern, split)
            for index in [tar_index(tar, self.index_dir)]
            for member in zip(index.names, index.labels, index.offsets, index.sizes, strict=True)
        ]
        if not found:
            raise ConfigError(f"data.{split}={pattern}: there are no images in these tar files of {self.root}")
        if self.val is None:
            names = [f"{member.tar.name}/{member.name}" for member in found]
            labels = [member.label for member in found]
            found = [found[i] for i in self.held_out.rows_of(split, names, labels)]
        return found

    def _tars(self, pattern: str, split: str) -> list[Path]:
        root = existing_folder(self.root)
        try:
            tars = sorted(path for path in root.glob(pattern) if path.is_file())
        except (ValueError, NotImplementedError, IndexError) as error:
            raise ConfigError(f"data.{split}={pattern}: must be a pattern of names inside data.root") from error
        if not tars:
            advice = "; with data.val=null a part of the training images validates" if split == "val" else ""
            raise ConfigError(f"data.{split}={pattern}: there is no such file in data.root={self.root}{advice}")
        return tars
