"""Lists of image files with their labels, as text or CSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from hookline.config.errors import ConfigError, reason_of
from hookline.data.files import FileSource, existing_folder
from hookline.data.labels import number_labels, read_class_names, some
from hookline.data.listed import Listing
from hookline.data.source import SPLITS
from hookline.data.splitting import HeldOut

# Headings that the columns of paths, labels and splits may have, in lower case.
HEADINGS = (
    ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "image_id"),
    ("label", "class", "target", "category", "class_name", "label_name"),
    ("split", "set", "subset"),
)
# What a split is called in a column of splits.
SPLIT_NAMES = {"train": "train", "training": "train"} | dict.fromkeys(("val", "valid", "validation", "test"), "val")


class Row(NamedTuple):
    """A line of a list; `split` is None where the list has no such column."""

    path: str
    label: str
    split: str | None


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


def read_rows(file: str | None, key: str) -> list[Row]:
    """Return the rows of a list.

    Raises:
        ConfigError: the list is missing, cannot be read, is empty, or has a line that is no path and label.
    """
    if not file:
        raise ConfigError(f"{key}: is missing; give a text or CSV file of paths and labels, {key}=FILE")
    path = Path(file).expanduser()
    try:
        with path.open(encoding="utf-8-sig", newline="") as content:
            lines = [line for line in content.read().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}={file}: cannot be read: {reason_of(error)}") from error
    if not lines:
        raise ConfigError(f"{key}={file}: is empty")
    tabular = path.suffix.lower() in (".csv", ".tsv")
    rows = rows_of_table(lines) if tabular else [line.rsplit("\t" if "\t" in line else None, 1) for line in lines]
    found = []
    for number, row in enumerate(rows, start=1 + len(lines) - len(rows)):
        words = [word.strip() for word in row]
        if len(words) < 2 or len(words) != len(rows[0]) or not all(words[:2]):
            raise ConfigError(f"{key}={file}: row {number} is no path with a label: {lines[number - 1][:80]!r}")
        # A list that was made on Windows has its separators.
        found.append(Row(os.path.normpath(words[0].replace("\\", "/")), words[1], words[2] if len(words) > 2 else None))
    return found


def rows_of_table(lines: Sequence[str]) -> list[list[str]]:
    """Return path, label and, where there is one, split of each line of a table, with or without a heading."""
    rows = list(csv.reader(lines, delimiter=max(",;\t", key=lines[0].count)))
    heading = [word.strip().lower() for word in rows[0]]
    columns = [next((heading.index(word) for word in words if word in heading), None) for words in HEADINGS]
    if columns[0] is None or columns[1] is None:
        return [row[:3] for row in rows]
    chosen = [column for column in columns if column is not None]
    return [[row[column] for column in chosen if column < len(row)] for row in rows[1:]]
