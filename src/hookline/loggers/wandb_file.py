"""The files of Weights & Biases: what they hold of a run.

A file `run-ID.wandb` begins with seven bytes of its own. Then it is a log of LevelDB's
(https://github.com/google/leveldb/blob/main/doc/log_format.md): blocks of 32 KiB with pieces of records, each behind a
checksum (uint32), its length (uint16) and its kind (uint8), little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

BLOCK, BEGIN, HEAD = 32768, 7, 7
# A record in one piece, and the last piece of one.
WHOLE, LAST = 1, 4


def last_step(folder: Path, run_id: str) -> int:
    """Return the last step that the files in the folder `wandb` hold of a run; -1 without any."""
    record_of = import_module("wandb.proto.wandb_internal_pb2").Record.FromString

    steps = [-1]
    for path in folder.glob(f"*run-*-{run_id}/run-{run_id}.wandb"):
        for content in records(path.read_bytes()):
            record = record_of(content)
            if record.WhichOneof("record_type") == "history":
                items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
                steps.append(int(items["_step"]))
    return max(steps)


def records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a file, up to where it breaks off."""
    place, record = BEGIN, b""
    while place + HEAD <= len(content):
        if (left := BLOCK - place % BLOCK) < HEAD:
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + HEAD])
        place += HEAD
        if place + length > len(content):
            return
        record += content[place : place + length]
        place += length
        if kind in (WHOLE, LAST):
            yield record
            record = b""
