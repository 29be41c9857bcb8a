"""Sources whose samples are files in a folder."""

from __future__ import annotations

import os
import stat
from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from PIL import Image

from hookline.config.errors import ConfigError, reason_of
from hookline.data.decode import DecodeError
from hookline.data.labels import some
from hookline.data.listed import ListedSource

# Formats that Pillow knows by their beginning and cannot decode, EPS not without Ghostscript.
NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


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
        path = self.name_of(index)
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for, a device read without an end
            raise DecodeError("it is not a regular file")
        with open(path, "rb") as file:
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
            return sorted(entry.name for entry in entries if _is_seen(entry.name) and _holds(entry.is_dir))
    except OSError as error:
        raise ConfigError(f"{key}: the folder {folder} cannot be read: {reason_of(error)}") from error


def images_below(folder: Path, key: str = "data.root") -> list[str]:
    """Return the paths of all images below a folder, relative to it and sorted; hidden files are left out.

    Raises:
        ConfigError: a folder cannot be read, or something that is called like an image is no file.
    """
    suffixes = image_suffixes()
    found = sorted(pair for pair in _entries_below(folder, key) if os.path.splitext(pair[0])[1].lower() in suffixes)
    strange = [path for path, is_file in found if not is_file]
    if strange:
        what = "links that lead to no file, pipes or devices"
        raise ConfigError(f"{key}: {len(strange)} of the images in {folder} are {what}: {some(strange, 3)}")
    return [path for path, _ in found]


def _entries_below(folder: Path, key: str) -> Iterator[tuple[str, bool]]:
    """Yield the path of everything below a folder that is no folder, and whether it is a file."""
    seen, places = set(), [""]
    while places:
        inside = places.pop()
        place = os.path.normpath(os.path.join(folder, inside))
        if (real := os.path.realpath(place)) in seen:  # a link that leads upwards
            continue
        seen.add(real)
        try:
            with os.scandir(place) as entries:
                for entry in filter(lambda entry: _is_seen(entry.name), entries):
                    if _holds(entry.is_dir):
                        places.append(inside + entry.name + os.sep)
                    else:
                        yield inside + entry.name, _holds(entry.is_file)
        except OSError as error:
            raise ConfigError(f"{key}: the folder {place} cannot be read: {error.strerror}") from error


def _holds(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a link that leads to itself
        return False


def _is_seen(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"
