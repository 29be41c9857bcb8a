"""A source whose images were made small once, so that an epoch neither decodes nor reads the originals.

A cache is a folder of two files. `images.bin` has the images one behind the other: as pixels, `[H, W, C]` of uint8, or
as JPEGs. `index.npz` says where each begins and how large it is; NumPy keeps a checksum of it. The folder is written
beside its place and renamed into it, under a lock that the system takes away from a process that dies.
"""

from __future__ import annotations

import hashlib
import io
import logging
import mmap
import os
import shutil
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ConfigError, ParameterError, reason_of
from hookline.data.decode import decode
from hookline.data.parallel import in_order
from hookline.data.source import Source, read_image

KINDS = ("raw", "jpeg")
QUALITY = 90
# Part of every key: a cache that another version of this module made is not looked at.
FORMAT = 1

IMAGES, INDEX = "images.bin", "index.npz"
# How many images tell the size of the whole before it is made.
PROBES = 64

# A private mapping counts as memory that may be needed, which a large file would be refused for, unless this is set.
# Python 3.11 does not know it by name; the number is Linux's.
NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)

log = logging.getLogger(__name__)


class CachedSource(Source):
    """Another source with its images in one file, their short side at most `cache_size` pixels.

    The cache is made when it is first needed, at the latest by `check`; it is looked for by a key of the source's
    labels and files (names, sizes and times of change) and these settings. An image that cannot be read is not in it:
    `read` then asks the source, which says why.

    An image of a `raw` cache is a view of the file's pages, and a change to it in place would be seen by every later
    `read` of this process, though it never reaches the file.

    Args:
        source: whose images these are.
        cache: `raw` keeps pixels, `jpeg` JPEGs of quality 90.
        cache_dir: the folder of all caches.
        cache_size: pixels of the short side; an image that is smaller is kept as it is.
        settings: what else the images depend on, such as the source's part of the config.
        threads: how many make the cache; None for one on each core.
    """

    def __init__(
        self,
        source: Source,
        *,
        cache: str = "raw",
        cache_dir: Path | str,
        cache_size: int = 256,
        settings: str = "",
        threads: int | None = None,
    ) -> None:
        super().__init__(split=source.split)
        check_choice("cache", cache, KINDS)
        check_number("cache_size", cache_size, gt=0, integer=True)
        if cache == "jpeg" and source.channels not in (1, 3):
            raise ParameterError("cache", cache, f"raw: a JPEG has 1 or 3 channels, these images {source.channels}")
        self.source = source
        self.cache = cache
        self.cache_dir = Path(cache_dir).expanduser()
        self.cache_size = cache_size
        self.settings = settings
        self.threads = threads
        self.channels = source.channels
        self.image_size = source.image_size and _fitted(*source.image_size, cache_size)
        self._lock = threading.Lock()
        self._store: Store | None = None

    def __len__(self) -> int:
        return len(self.source)

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names of the classes."""
        return self.source.classes

    @property
    def targets(self) -> Tensor:
        """The label of every sample: int64 `[N]`."""
        return self.source.targets

    def name_of(self, index: int) -> str:
        """Return what a message calls a sample."""
        return self.source.name_of(index)

    def files(self) -> Iterator[str]:
        """Yield the files of the source."""
        return self.source.files()

    def fingerprint(self) -> str:
        """Return the source's fingerprint."""
        return self.source.fingerprint()

    def check(self) -> None:
        """Raise `ConfigError` where the source is not in order, or the cache cannot be made."""
        self.source.check()
        self.store()

    def read(self, index: int) -> Tensor:
        """Return the image of a sample: uint8 `[C, H, W]`."""
        store = self._store or self.store()
        start, stop = int(store.offsets[index]), int(store.offsets[index + 1])
        if start == stop:
            return read_image(self.source, index)
        if self.cache == "jpeg":
            return decode(store.mapped[start:stop], self.channels)
        height, width = map(int, store.sizes[index])
        return store.bytes.as_strided((self.channels, height, width), (1, width * self.channels, self.channels), start)

    def store(self) -> Store:
        """Return the cache's files, opened; they are made if there are none, or only damaged ones."""
        with self._lock:
            if self._store is None:
                self._store = self._found_or_made()
            return self._store

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker process is handed: it opens the files itself."""
        return {**self.__dict__, "_lock": None, "_store": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """The folder of this cache: it has another name when anything that the images depend on is another."""
        key = hashlib.blake2b(digest_size=8)
        origin = type(self.source)
        for part in (FORMAT, QUALITY, origin.__module__, origin.__qualname__, self.settings, self.channels):
            key.update(os.fsencode(f"{part}\n"))
        key.update(os.fsencode(self.source.fingerprint()))
        for file in self.source.files():
            key.update(os.fsencode(_stamp(file)))
        return self.cache_dir / f"{origin.__name__}-{self.split}-{self.cache}{self.cache_size}-{key.hexdigest()}"

    def _found_or_made(self) -> Store:
        folder = self.folder
        if (store := self._opened(folder)) is not None:
            return store
        try:
            return self._made(folder)
        except OSError as error:
            told = f"the cache {folder.name} cannot be written: {error.strerror or reason_of(error)}"
            raise ConfigError(f"data.cache_dir={self.cache_dir}: {told}") from error

    def _made(self, folder: Path) -> Store:
        self.cache_dir.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            # Another run may have made it meanwhile.
            if (store := self._opened(folder)) is not None:
                return store
            for leftover in self.cache_dir.glob(f".{folder.name}.*"):
                shutil.rmtree(leftover)
            if folder.exists():
                log.warning("data.cache: %s is damaged and is made anew", folder)
                shutil.rmtree(folder)
            self._make(folder)
        if (store := self._opened(folder)) is None:
            raise ConfigError(f"data.cache_dir={self.cache_dir}: what was written to {folder} is not what is read back")
        return store

    def _opened(self, folder: Path) -> Store | None:
        try:
            store = Store.open(folder)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return store if len(store.offsets) == len(self) + 1 else None

    def _make(self, folder: Path) -> None:
        size = self._estimate()
        free = shutil.disk_usage(self.cache_dir).free
        log.info("data.cache: making %s of %s images, about %s", folder, f"{len(self):,}", told_size(size))
        if size > free:
            advice = "" if self.cache == "jpeg" else "; data.cache=jpeg takes about a tenth"
            raise ConfigError(
                f"data.cache_dir={self.cache_dir}: the cache takes about {told_size(size)}, and the disk has"
                f" {told_size(free)} left{advice}"
            )
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(
            prefix=f".{folder.name}.", dir=self.cache_dir, ignore_cleanup_errors=True
        ) as t:
            beside = Path(t) / "whole"
            beside.mkdir()
            broken = self._write(beside)
            if len(broken) == len(self):
                raise ConfigError(f"data: none of the images can be read; of the first: {broken[0]}")
            os.rename(beside, folder)
        if broken:
            shown = "; ".join(broken[:3])
            log.warning("data.cache: %s images cannot be read, and are not in it: %s", f"{len(broken):,}", shown)
        took = tqdm.format_interval(time.perf_counter() - began)
        written = (folder / IMAGES).stat().st_size
        log.info("data.cache: %s has %s, made in %s", folder, told_size(written), took)

    def _write(self, folder: Path) -> list[str]:
        """Write both files, and return what was wrong with the images that cannot be read."""
        offsets, sizes, broken = np.zeros(len(self) + 1, np.int64), np.zeros((len(self), 2), np.int32), []
        made = in_order(self._encoded, range(len(self)), self.threads)
        with (folder / IMAGES).open("wb") as file:
            bar = tqdm(made, total=len(self), desc="cache", unit="image", disable=None, leave=False)
            for index, (content, size, problem) in enumerate(bar):
                file.write(content)
                offsets[index + 1], sizes[index] = offsets[index] + len(content), size
                if problem:
                    broken.append(problem)
            file.flush()
            os.fsync(file.fileno())
        with (folder / INDEX).open("wb") as file:
            np.savez(file, offsets=offsets, sizes=sizes)
            file.flush()
            os.fsync(file.fileno())
        return broken

    def _encoded(self, index: int) -> tuple[bytes, Sequence[int], str]:
        """Return a sample's bytes, height and width, and what is wrong with it."""
        try:
            image = read_image(self.source, index)
        except (Exception, SystemExit) as error:  # whatever a source raises about a file
            reason, name = reason_of(error), self.name_of(index)
            return b"", (0, 0), reason if name in reason else f"{name}: {reason}"
        image = shrunk(image, self.cache_size)
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        return as_jpeg(pixels) if self.cache == "jpeg" else pixels.tobytes(), pixels.shape[:2], ""

    def _estimate(self) -> int:
        """Return about how many bytes the cache will have, going by some images from all over the source."""
        probes = sorted({int(index) for index in np.linspace(0, len(self) - 1, min(PROBES, len(self)))})
        lengths = [len(content) for content, _, _ in in_order(self._encoded, probes, self.threads)]
        return round(sum(lengths) / len(lengths) * len(self))


@dataclass(frozen=True)
class Store:
    """The files of a cache, opened; any number of threads may read them.

    Attributes:
        mapped: the bytes of all images, on the disk until they are touched.
        bytes: the same as a tensor.
        offsets: where each image begins, and behind the last one the end: int64 `[N + 1]`.
        sizes: height and width of each: int32 `[N, 2]`.
    """

    mapped: mmap.mmap
    bytes: Tensor
    offsets: np.ndarray
    sizes: np.ndarray

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Return the files in a folder, or raise `OSError`, `ValueError` or the like where they are damaged."""
        with np.load(folder / INDEX) as index:  # whose checksums are compared
            offsets, sizes = index["offsets"], index["sizes"]
        with (folder / IMAGES).open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            if length != offsets[-1]:
                raise ValueError(f"{file.name} has {length} bytes and should have {offsets[-1]}")
            # Private and writable: torch has no read-only tensors, and a write must neither crash nor reach the file.
            mapped = mmap.mmap(
                file.fileno(), length, flags=mmap.MAP_PRIVATE | NO_RESERVE, prot=mmap.PROT_READ | mmap.PROT_WRITE
            )
        return cls(mapped, torch.frombuffer(mapped, dtype=torch.uint8), offsets, sizes)


def default_folder() -> Path:
    """Return the folder of caches where the config names none: in the user's own folder of caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hookline"


def shrunk(image: Tensor, size: int) -> Tensor:
    """Return an image `[C, H, W]` resized to a short side of `size` pixels, with antialiasing; a small one as it is."""
    height, width = image.shape[1:]
    if min(height, width) <= size:
        return image
    return F.interpolate(image.unsqueeze(0), _fitted(height, width, size), mode="bicubic", antialias=True).squeeze(0)


def as_jpeg(pixels: np.ndarray) -> bytes:
    """Return the JPEG of an image `[H, W, C]` with 1 or 3 channels."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def told_size(count: float) -> str:
    """Return a number of bytes as people say it, such as `1.23GB`."""
    return tqdm.format_sizeof(count, "B")


def _fitted(height: int, width: int, size: int) -> tuple[int, int]:
    short = min(height, width)
    return (height, width) if short <= size else (round(height * size / short), round(width * size / short))


def _stamp(file: str) -> str:
    """Return a file's name, size and time of change; the name alone where there is no such file."""
    try:
        stat = os.stat(file)
    except (OSError, ValueError):
        return f"{file}\n"
    return f"{file} {stat.st_size} {stat.st_mtime_ns}\n"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a cache, and say so where that means to wait for another run."""
    import fcntl

    # The file stays: one that is removed could be locked by two runs at once, by its old and its new self.
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("data.cache: another run is making %s; this one waits for it", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
