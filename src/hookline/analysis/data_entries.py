"""What a folder of classes or a list of images has, for tools that only need paths and labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hookline.analysis.data_split import PARTS
from hookline.config.errors import ConfigError
from hookline.data.files import folders_in, images_below
from hookline.data.list_file import read_rows


@dataclass(frozen=True)
class Entry:
    """An image file with its label.

    Attributes:
        path: where it is.
        label: its class.
        name: what it is called in the folder of its class.
        group: what it stays together with; None where nothing does.
    """

    path: Path
    label: str
    name: str
    group: str | None


def entries_of(source: Path, pattern: str | None, column: str | None) -> Iterator[Entry]:
    """Yield what a folder of classes or a list has."""
    if source.is_dir():
        if column is not None:
            raise ConfigError(f"group_column={column}: needs a CSV file, and source={source} is a folder")
        found = in_folder(source)
    elif source.is_file():
        found = in_list(source, column)
    else:
        raise ConfigError(f"source={source}: there is no such folder or file")
    for entry in found:
        yield entry if pattern is None else replace(entry, group=group_of(entry, pattern))


def group_of(entry: Entry, pattern: str) -> str:
    """Return what the pattern finds in an entry's path."""
    match = re.search(pattern, str(entry.path))
    if match is None:
        raise ConfigError(f"group_pattern={pattern}: is not in the path {entry.path}")
    return match[1] if match.re.groups else match[0]


def in_folder(root: Path) -> Iterator[Entry]:
    """Yield the images below the folder of each class."""
    classes = folders_in(root, f"source={root}")
    if classes and set(classes) <= set(PARTS):
        raise ConfigError(f"source={root}: is split already: it has {', '.join(classes)}")
    for label in classes:
        for name in images_below(root / label, f"source={root}"):
            yield Entry(root / label / name, label, name, None)


def in_list(file: Path, column: str | None) -> Iterator[Entry]:
    """Yield the images of a list; paths are relative to its folder."""
    given: Counter[tuple[str, str]] = Counter()
    missing = []
    for path, label, _, group in read_rows(str(file), "source", group_column=column):
        place = file.parent / path
        if Path(label).name != label or label in (".", ".."):
            raise ConfigError(f"source={file}: the label {label!r} cannot be the name of a folder")
        if not place.is_file():
            missing.append(path)
            continue
        given[label, place.name] += 1
        number = given[label, place.name]
        yield Entry(place, label, place.name if number == 1 else f"{place.stem}-{number}{place.suffix}", group)
    if missing:
        raise ConfigError(
            f"source={file}: {len(missing):,} of its images are not there: {', '.join(missing[:3])};"
            f" paths are relative to {file.parent}"
        )
