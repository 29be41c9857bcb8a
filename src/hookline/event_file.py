"""TensorBoard's event files, written where the numbers come up.

TensorBoard's own writer hands every event to a thread. In a training loop that costs more than the writing: the thread
needs the interpreter's lock, so the loop waits for it to wake up, to finish and to give the lock back, some hundred
microseconds each time. Here an event goes into the file's buffer at once.

A file is a row of records, each one event (a protocol buffer): its length as uint64, the length's checksum, the event,
the event's checksum, little-endian; the checksums are CRC-32C, rotated by 15 bits and with a constant added. The format
is TFRecord's (https://www.tensorflow.org/tutorials/load_data/tfrecord).
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import google_crc32c
from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary

_number = count()


def checksum(content: bytes) -> int:
    """Return the checksum of a record's part."""
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(content: bytes) -> bytes:
    """Return the record that holds `content`."""
    length = struct.pack("<Q", len(content))
    return b"%b%b%b%b" % (
        length,
        struct.pack("<I", checksum(length)),
        content,
        struct.pack("<I", checksum(content)),
    )


class EventFile:
    """A new event file in a folder.

    Args:
        folder: is made if it does not exist.
        flush_seconds: what is written reaches the disk with the first event that comes so long after the last flush.
    """

    def __init__(self, folder: Path, *, flush_seconds: float = 2.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # The form of the name is TensorBoard's: the start time sorts a run's files, the rest tells them apart.
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_number)}"
        self._file = (folder / name).open("xb")
        self._flush_seconds = flush_seconds
        self._event = Event()
        self._tags: tuple[str, ...] = ()
        metadata = SourceMetadata(writer="hookline.event_file")
        first = Event(wall_time=time.time(), file_version="brain.Event:2", source_metadata=metadata)
        self._file.write(record(first.SerializeToString()))
        self.flush()

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Add one event with all these scalars: its cost hardly depends on how many it holds."""
        now = time.time()
        tags = tuple(scalars)
        if tags != self._tags:
            self._tags = tags
            self._event = Event(summary=Summary(value=[Summary.Value(tag=tag) for tag in tags]))
        # The same event is filled anew: making one costs ten times as much.
        event = self._event
        event.wall_time = now
        event.step = step
        for place, value in zip(event.summary.value, scalars.values(), strict=True):
            place.simple_value = value
        self._file.write(record(event.SerializeToString()))
        if now >= self._next_flush:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._file.flush()
        self._next_flush = time.time() + self._flush_seconds

    def close(self) -> None:
        """Flush and close; nothing can be written after it."""
        self._file.close()
