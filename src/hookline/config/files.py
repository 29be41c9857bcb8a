"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def make_folder(path: Path) -> Path:
    """Make a folder with those above it, if it is not there, and return it.

    Raises:
        OSError: it cannot be made. Where the system takes no folders, such as in `/proc`, it says that the folder is
            not there, which would look like a missing input; this says what it means.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        raise PermissionError(errno.EACCES, "no folder can be made there", str(path)) from error
    return path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of writing name the path: of a full disk the system does not say where it is."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; once all went well, put what was written in `path`'s place.

    A reader, or a run killed at any moment, sees the old file or the new one and never a part.
    """
    make_folder(path.parent)
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        with naming(path):
            yield beside
            with beside.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON into the place of `path`; numbers that JSON has no words for become null."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(_finite(content), indent=2, allow_nan=False) + "\n")


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
