"""TensorBoard's event files, written where the numbers come up.

TensorBoard's own writer hands every event to a thread. In a training loop that costs more than the writing: the thread
needs the interpreter's lock, so the loop waits for it to wake up, to finish and to give the lock back, some hundred
microseconds each time. Here the loop's own thread writes.

A file is a row of records, each one event (a protocol buffer): its length as uint64, the length's checksum, the event,
the event's checksum, little-endian; the checksums are CRC-32C, rotated by 15 bits and with a constant added. The format
is TFRecord's (https://www.tensorflow.org/tutorials/load_data/tfrecord).
"""

from __future__ import annotations

import os
import socket
import struct
import time
import weakref
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import BinaryIO

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


def _write_out(file: BinaryIO, events: list[tuple[float, int, Mapping[str, float]]]) -> None:
    """Write the events, each its time, step and scalars, and empty the list."""
    tags: tuple[str, ...] = ()
    event = Event()
    for event_time, step, scalars in events:
        if tuple(scalars) != tags:
            tags = tuple(scalars)
            event = Event(summary=Summary(value=[Summary.Value(tag=tag) for tag in tags]))
        # The same event is filled anew: making one costs ten times as much.
        event.wall_time = event_time
        event.step = step
        for place, value in zip(event.summary.value, scalars.values(), strict=True):
            place.simple_value = value
        file.write(record(event.SerializeToString()))
    events.clear()
    file.flush()


def _finish(file: BinaryIO, events: list[tuple[float, int, Mapping[str, float]]]) -> None:
    _write_out(file, events)
    file.close()


class EventFile:
    """A new event file in a folder.

    Events are kept until the next flush: many in a row take a quarter of the time that each takes by itself between
    two updates. A file that nobody closed is completed when its object is collected, or when Python ends.

    Args:
        folder: is made if it does not exist.
        flush_seconds: what is written reaches the disk with the first event that comes so long after the last flush.
    """

    def __init__(self, folder: Path, *, flush_seconds: float = 2.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # The form of the name is TensorBoard's: the start time sorts a run's files, the rest tells them apart.
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_number)}"
        self._file = (folder / name).open("xb")
        self._events: list[tuple[float, int, Mapping[str, float]]] = []
        self._finish = weakref.finalize(self, _finish, self._file, self._events)
        self._flush_seconds = flush_seconds
        metadata = SourceMetadata(writer="hookline.loggers.event_file")
        first = Event(wall_time=time.time(), file_version="brain.Event:2", source_metadata=metadata)
        self._file.write(record(first.SerializeToString()))
        self.flush()

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Add one event with all these scalars, which must not change afterwards."""
        now = time.time()
        self._events.append((now, step, scalars))
        if now >= self._next_flush:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the operating system."""
        _write_out(self._file, self._events)
        self._next_flush = time.time() + self._flush_seconds

    def close(self) -> None:
        """Flush and close; nothing can be written after it."""
        self._finish()
