"""Checkpoint files: written whole, verified when read."""

from __future__ import annotations

import mmap
import os
import re
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import torch

# A checkpoint is a zip archive, as `torch.save` writes it. Its last 22 bytes are the archive's end record, of which the
# last two say how long the comment is that follows. There stands the checksum of everything before.
_END = b"PK\x05\x06"
_END_LENGTH = 22
_COMMENT = re.compile(rb"hookline crc32c ([0-9a-f]{8})")
_COMMENT_LENGTH = len(b"hookline crc32c 00000000")
_CHUNK = 1 << 22

# By this file a directory is a checkpoint, whose other files hold the parts of the tensors.
STATE = "state.pt"


class CheckpointError(Exception):
    """A file that cannot be used as a checkpoint; its text says which and why."""


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint into the place of `path`.

    At any moment there is the old file or the new one, whole, also after a power cut: the content is written beside,
    synced to the disk and renamed, and the folder is synced. A CRC-32C of the content is part of the file, as
    `torch.load` itself takes a flipped bit in silence.

    Args:
        path: the checkpoint file.
        content: tensors, numbers, strings, lists and dicts.

    Raises:
        OSError, RuntimeError: the file cannot be written; a full disk shows as either.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save(dict(content), beside)
        with beside.open("r+b") as file:
            comment = b"hookline crc32c %08x" % _checksum(file.fileno(), os.fstat(file.fileno()).st_size - 2)
            file.seek(-2, os.SEEK_END)
            file.write(struct.pack("<H", len(comment)) + comment)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def is_checkpoint(path: Path) -> bool:
    """Say whether a path is a checkpoint: a file, or a directory that several processes have written."""
    return path.is_file() or (path / STATE).is_file()


def read(path: Path) -> dict[str, Any]:
    """Return what was written, whole tensors on the CPU; no code in the file is run.

    Args:
        path: a file, or a directory of several processes (see `hookline.checkpoint.sharded`).

    Raises:
        CheckpointError: there is no such checkpoint, it is damaged, or it is none.
    """
    if path.is_dir():
        from hookline.checkpoint.sharded import with_shards  # which needs much of torch

        return with_shards(path, read(path / STATE))
    verify(path)
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch raises for a file that is not what it seems
        raise CheckpointError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__} and no checkpoint")
    return content


def verify(path: Path) -> None:
    """Raise `CheckpointError` where the file is not there, or is not what was written."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            tail = min(size, _END_LENGTH + _COMMENT_LENGTH)
            file.seek(-tail, os.SEEK_END)
            end = file.read()
            found = _COMMENT.fullmatch(end[_END_LENGTH:])
            length = struct.pack("<H", _COMMENT_LENGTH)
            if found is None or not end.startswith(_END) or end[_END_LENGTH - 2 : _END_LENGTH] != length:
                raise CheckpointError(f"{path}: is truncated, damaged, or no checkpoint of hookline's")
            computed = _checksum(file.fileno(), size - _COMMENT_LENGTH - 2)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    if computed != int(found[1], 16):
        raise CheckpointError(f"{path}: is damaged: its checksum is not the one that it was written with")


def sync_folder(folder: Path) -> None:
    """Sync a folder to the disk, so that what was renamed in it stays so."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum(path: Path) -> int:
    """Return the CRC-32C of a file."""
    with path.open("rb") as file:
        return _checksum(file.fileno(), os.fstat(file.fileno()).st_size)


def remove(path: Path) -> None:
    """Remove a checkpoint; a directory is none from the first moment on."""
    if path.is_dir():
        (path / STATE).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _checksum(descriptor: int, length: int) -> int:
    if length <= 0:
        return 0
    found = 0
    with mmap.mmap(descriptor, length, prot=mmap.PROT_READ) as content:
        for start in range(0, length, _CHUNK):
            found = google_crc32c.extend(found, content[start : min(start + _CHUNK, length)])
    return found
