"""The IDX format of MNIST and its successors (https://yann.lecun.com/exdb/mnist), plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from hookline.config.errors import ConfigError

UNSIGNED_BYTE = 0x08


def find_idx(folder: Path, name: str) -> Path | None:
    """Return the IDX file `name` in `folder`, plain or as `name.gz`, or None."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_idx(path: Path, dims: int) -> Tensor:
    """Return the file's bytes as a uint8 tensor of `dims` dimensions.

    Raises:
        ConfigError: the file is no IDX file of bytes with that many dimensions, or is truncated.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"data.root: {path} cannot be read, is it truncated? ({error})") from error
    header = 4 + 4 * dims
    if len(content) < header or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE or content[3] != dims:
        raise ConfigError(f"data.root: {path} is not an IDX file of bytes with {dims} dimension(s)")
    shape = struct.unpack(f">{dims}I", content[4:header])
    if not math.prod(shape):
        raise ConfigError(f"data.root: {path} holds nothing: its header says {'x'.join(map(str, shape))}")
    expected = header + math.prod(shape)
    if len(content) != expected:
        what = "truncated" if len(content) < expected else "too long"
        raise ConfigError(f"data.root: {path} is {what}: {len(content)} bytes, its header asks for {expected}")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).view(shape)
