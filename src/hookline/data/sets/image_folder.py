"""Folders of images, one for each class."""

from __future__ import annotations

import os
import unicodedata
from functools import cached_property
from pathlib import Path

import torch

from hookline.config.errors import ConfigError
from hookline.data.files import FileSource, existing_folder, folders_in, images_below
from hookline.data.labels import check_known
from hookline.data.listed import Listing
from hookline.data.splitting import HeldOut

# What a folder of validation images may be called; the first that is there is taken.
VAL_FOLDERS = ("val", "valid", "validation", "test")


class ImageFolder(FileSource):
    """Images in folders, of which each is a class; the folders may be nested, and all formats of Pillow are read.

    The root has `train` and `val` (or `valid`, `validation`, `test`), each with a folder for every class; or it has a
    folder for every class, and `val_fraction` of each class validates. Classes are sorted by name, as torchvision's
    `ImageFolder` sorts them.

    Args:
        split: `train` or `val`.
        root: the folder.
        val_fraction: the share of each class that validates, where the root has no folder for validation.
        split_seed: chooses which images those are; the run's seed has no part in it.
        channels: 3 for colour, 1 for grey.
    """

    def __init__(
        self,
        *,
        split: str,
        root: str | None = None,
        val_fraction: float = 0.2,
        split_seed: int = 0,
        channels: int = 3,
    ) -> None:
        super().__init__(split=split, channels=channels)
        self.root = root
        self.held_out = HeldOut(val_fraction, split_seed)

    @cached_property
    def folder(self) -> Path:
        """The root."""
        return existing_folder(self.root)

    def list_samples(self) -> Listing:
        """Return the samples of the split."""
        train = self.folder / "train" if (self.folder / "train").is_dir() else self.folder
        val = next((self.folder / name for name in VAL_FOLDERS if (self.folder / name).is_dir()), None)
        if val is not None and train == self.folder and set(folders_in(self.folder)) <= set(VAL_FOLDERS):
            raise ConfigError(f"data.root={self.root}: has the folder {val.name} and no folder train")
        separate = val is not None and train != self.folder
        classes = folders_by_class(train)
        if len(classes) < 2:
            lacking = f"the folder {next(iter(classes.values()))} only" if classes else "no folder"
            raise ConfigError(f"data.root={self.root}: {train} has {lacking}; it must have a folder for each class")
        chosen = val if separate and self.split == "val" else train
        assert chosen is not None
        own = folders_by_class(chosen)
        check_known(own, classes, f"data.root={self.root}")
        names, labels = [], []
        for label, name in enumerate(classes):
            if name in own:
                inside = os.path.relpath(chosen / own[name], self.folder)
                found = [f"{inside}{os.sep}{path}" for path in images_below(chosen / own[name])]
                names += found
                labels += [label] * len(found)
        if not names:
            raise ConfigError(f"data.root={self.root}: there are no images in the folders of {chosen}")
        if not separate:
            kept = self.held_out.rows_of(self.split, names, labels)
            names, labels = [names[i] for i in kept], [labels[i] for i in kept]
        return Listing(tuple(classes), names, torch.tensor(labels, dtype=torch.int64))


def folders_by_class(folder: Path) -> dict[str, str]:
    """Return the folders in a folder by the classes that they are of, sorted.

    Systems differ in how they write an accented letter; the name of the class is the same on all of them (NFC).
    """
    found: dict[str, str] = {}
    for name in folders_in(folder):
        other = found.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise ConfigError(f"data.root: {folder} has two folders of the name {name!r}, written in different ways")
    return dict(sorted(found.items()))
