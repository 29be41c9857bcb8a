"""Lists of images with their labels, as text or CSV."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import NamedTuple

from hookline.config.errors import ConfigError, reason_of

# Headings that the columns of paths, labels and splits may have, in lower case.
HEADINGS = (
    ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "image_id"),
    ("label", "class", "target", "category", "class_name", "label_name"),
    ("split", "set", "subset"),
)


class Row(NamedTuple):
    """A line of a list; `split` and `group` are None where there is no such column."""

    path: str
    label: str
    split: str | None
    group: str | None


def read_rows(file: str | None, key: str, *, group_column: str | None = None) -> list[Row]:
    """Return the rows of a list.

    A line of text is `path label`, and the path may have blanks in it. A file whose name ends in `.csv` or `.tsv` has
    the columns path, label and, if wanted, split, in this order or by a heading.

    Args:
        file: the list.
        key: what the config calls it.
        group_column: the heading of the column of groups, as the config key of this name has it.

    Raises:
        ConfigError: the list is missing, cannot be read, is empty, has a line that is no path and label, or has no
            column of groups.
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
    if tabular:
        try:
            rows = list(csv.reader(lines, delimiter=max(",;\t", key=lines[0].count)))
        except csv.Error as error:
            raise ConfigError(f"{key}={file}: cannot be read: {reason_of(error)}") from error
    else:
        rows = [line.rsplit("\t" if "\t" in line else None, 1) for line in lines]
    words = [word.strip().lower() for word in rows[0]]
    columns = [next((words.index(name) for name in names if name in words), None) for names in HEADINGS]
    headed = tabular and None not in columns[:2]
    if group_column is not None and (not headed or group_column.lower() not in words):
        known = ", ".join(words) if headed else "no heading with path and label"
        raise ConfigError(f"group_column={group_column}: is no column of {file}, which has {known}")
    if headed:
        rows = rows[1:]
        if not rows:
            raise ConfigError(f"{key}={file}: has a heading and nothing else")
        columns.append(None if group_column is None else words.index(group_column.lower()))
    else:
        rows = [row[:3] for row in rows]
        columns = [0, 1, 2 if len(rows[0]) > 2 else None, None]
    least = max(column for column in columns if column is not None) + 1
    found = []
    for number, row in enumerate(rows, start=1 + len(lines) - len(rows)):
        cells = [None if column is None or column >= len(row) else row[column].strip() for column in columns]
        if len(row) < least or not cells[0] or not cells[1] or (not headed and len(row) > least):
            raise ConfigError(f"{key}={file}: row {number} is no path with a label: {lines[number - 1][:80]!r}")
        # A list that was made on Windows has its separators.
        found.append(Row(os.path.normpath(cells[0].replace("\\", "/")), cells[1], cells[2], cells[3]))
    return found
