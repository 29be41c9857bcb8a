"""Sources whose samples are files in a folder."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import Image

from hookline.config.errors import ConfigError, reason_of
from hookline.data.listed import ListedSource

# Formats that Pillow knows by their beginning and cannot decode.
NOT_DECODED = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}


class FileSource(ListedSource):
    """A source whose samples are files; their names are paths relative to `folder`, or absolute."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The folder that the samples' names are relative to."""

    def name_of(self, index: int) -> str:
        """Return the sample's path."""
        return os.path.join(self.folder, self.listing.names[index])

    def read_bytes(self, index: int) -> bytes:
        """Return the content of the sample's file."""
        with open(self.name_of(index), "rb") as file:
            return file.read()


@cache
def image_suffixes() -> frozenset[str]:
    """Return the extensions of the files that Pillow decodes, in lower case."""
    Image.init()
    formats = Image.OPEN.keys() - NOT_DECODED
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


def existing_folder(root: str | None, key: str = "data.root") -> Path:
    """Return the folder that a key names.

    Raises:
        ConfigError: it is not given, not there, or not a folder.
    """
    if not root:
        raise ConfigError(f"{key}: is missing; give the folder of the images, {key}=FOLDER")
    folder = Path(root).expanduser()
    if not folder.exists():
        raise ConfigError(f"{key}={root}: there is no such folder")
    if not folder.is_dir():
        raise ConfigError(f"{key}={root}: is not a folder")
    return folder


def folders_in(folder: Path, key: str = "data.root") -> list[str]:
    """Return the names of the folders in a folder, sorted; hidden ones are left out."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if _is_seen(entry.name) and entry.is_dir())
    except OSError as error:
        raise ConfigError(f"{key}: the folder {folder} cannot be read: {reason_of(error)}") from error


def images_below(folder: Path, key: str = "data.root") -> list[str]:
    """Return the paths of all images below a folder, relative to it and sorted; hidden files are left out."""
    suffixes = image_suffixes()
    return sorted(path for path in _files_below(folder, key) if os.path.splitext(path)[1].lower() in suffixes)


def _files_below(folder: Path, key: str) -> Iterator[str]:
    seen = set()

    def refuse(error: OSError) -> None:
        raise ConfigError(f"{key}: the folder {error.filename} cannot be read: {error.strerror}") from error

    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = filter(_is_seen, folders)
        if (real := os.path.realpath(place)) in seen:  # a link that leads upwards
            folders.clear()
            continue
        seen.add(real)
        inside = os.path.relpath(place, folder)
        prefix = "" if inside == os.curdir else inside + os.sep  # once a folder: for each file it would take long
        yield from (prefix + name for name in files if _is_seen(name))


def _is_seen(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"
