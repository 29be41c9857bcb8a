"""Lists of image files with their labels, as text or CSV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from hookline.config.errors import ConfigError
from hookline.data.files import FileSource, existing_folder
from hookline.data.labels import number_labels, read_class_names, some
from hookline.data.list_file import Row, read_rows
from hookline.data.listed import Listing
from hookline.data.source import SPLITS
from hookline.data.splitting import HeldOut

# What a split is called in a column of splits.
SPLIT_NAMES = {"train": "train", "training": "train"} | dict.fromkeys(("val", "valid", "validation", "test"), "val")


class ImageList(FileSource):
    """Images that a text or CSV file lists with their labels.

    A line of text is `path label`, and the path may have blanks in it. A file whose name ends in `.csv` or `.tsv` has
    the columns path, label and, if wanted, split, in this order or by a heading. Labels are names or numbers. Paths are
    relative to `root`, or else to the folder of the list.

    Args:
        split: `train` or `val`.
        train: the list of training images, or of all.
        val: the list of validation images; if not given, the other list has a column of splits, or `val_fraction` of
            each class validates.
        root: the folder that paths are relative to.
        class_names: a file of class names, one a line, or `name number` as in Awesome-Backbones' `annotations.txt`.
        val_fraction: the share of each class that validates, where the lists do not say which images do.
        split_seed: chooses which images those are; the run's seed has no part in it.
        channels: 3 for colour, 1 for grey.
    """

    def __init__(
        self,
        *,
        split: str,
        train: str | None = None,
        val: str | None = None,
        root: str | None = None,
        class_names: str | None = None,
        val_fraction: float = 0.2,
        split_seed: int = 0,
        channels: int = 3,
    ) -> None:
        super().__init__(split=split, channels=channels)
        self.train = train
        self.val = val
        self.root = root
        self.class_names = class_names
        self.held_out = HeldOut(val_fraction, split_seed)

    @cached_property
    def folder(self) -> Path:
        """The folder that paths are relative to."""
        return self._folder_of(self.split)

    def list_samples(self) -> Listing:
        """Return the samples of the split."""
        rows = self._rows()
        self._check_apart(rows)
        names = None
        if self.class_names:
            names = read_class_names(Path(self.class_names).expanduser(), "data.class_names")
        classes, targets = number_labels(
            [row.label for row in rows[self.split]], [row.label for row in rows["train"]], names
        )
        paths = [row.path for row in rows[self.split]]
        self._check_files(paths)
        return Listing(classes, paths, targets)

    def _folder_of(self, split: str) -> Path:
        if self.root:
            return existing_folder(self.root)
        file = self.val if split == "val" and self.val else self.train
        return Path(file or "").expanduser().parent

    def _rows(self) -> dict[str, list[Row]]:
        """Return the rows of each split."""
        rows = read_rows(self.train, "data.train")
        if self.val:
            return {"train": rows, "val": read_rows(self.val, "data.val")}
        if rows[0].split is not None:
            strange = sorted({row.split or "" for row in rows if (row.split or "").lower() not in SPLIT_NAMES})
            if strange:
                known = ", ".join(SPLIT_NAMES)
                raise ConfigError(f"data.train={self.train}: has splits that are none of {known}: {some(strange)}")
            named = [(SPLIT_NAMES[(row.split or "").lower()], row) for row in rows]
            return {split: [row for name, row in named if name == split] for split in SPLITS}
        paths, labels = [row.path for row in rows], [row.label for row in rows]
        return {split: [rows[i] for i in self.held_out.rows_of(split, paths, labels)] for split in SPLITS}

    def _check_apart(self, rows: dict[str, list[Row]]) -> None:
        files = []
        for split in SPLITS:
            folder = str(self._folder_of(split))
            files.append({os.path.normpath(os.path.join(folder, row.path)) for row in rows[split]})
        if both := sorted(files[0] & files[1]):
            what = f"{len(both)} images are listed for training and for validation"
            raise ConfigError(f"data.train={self.train}: {what}: {some(both, 3)}")

    def _check_files(self, paths: Sequence[str]) -> None:
        folder = str(self.folder)
        missing = [path for path in paths if not os.path.isfile(os.path.join(folder, path))]
        if missing:
            key = f"data.root={self.root}" if self.root else "data.root"
            raise ConfigError(
                f"{key}: {len(missing)} of {len(paths)} listed {self.split} images are not there: {some(missing, 3)};"
                f" paths are relative to {self.folder}"
            )
