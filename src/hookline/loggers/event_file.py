"""TensorBoard's event files, written where the numbers come up.

TensorBoard's own writer hands every event to a thread. In a training loop that costs more than the writing: the thread
needs the interpreter's lock, so the loop waits for it to wake up, to finish and to give the lock back, some hundred
microseconds each time. Here the loop's own thread writes.

A file is a row of records, each one event (a protocol buffer): its length as uint64, the length's checksum, the event,
the event's checksum, little-endian; the checksums are CRC-32C, rotated by 15 bits and with a constant added. The format
is TFRecord's (https://www.tensorflow.org/tutorials/load_data/tfrecord).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
import weakref
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path

import google_crc32c
from tensorboard.compat.proto.event_pb2 import Event, SessionLog, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary

from hookline.loggers.event_values import picture

PREFIX = "events.out.tfevents."

Scalars = Mapping[str, float]


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


def event_files(folder: Path) -> list[Path]:
    """Return a folder's event files in the order in which TensorBoard reads them."""
    return sorted(path for path in folder.glob(f"{PREFIX}*") if path.is_file())


class EventFile:
    """A new event file in a folder, which TensorBoard reads after those that are there.

    Events are kept until the next flush: many in a row take a quarter of the time that each takes by itself between
    two updates. A file that nobody closed is completed when its object is collected, or when Python ends.

    Args:
        folder: is made if it does not exist.
        first_step: the run goes on from this step: TensorBoard forgets what earlier files hold from it on.
        flush_seconds: what is written reaches the disk with the first event that comes so long after the last flush.
    """

    def __init__(self, folder: Path, *, first_step: int = 0, flush_seconds: float = 2.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / _new_name(folder)
        self._flush_seconds = flush_seconds
        self._events = _Events(self.path.open("xb", buffering=0))
        self._complete = weakref.finalize(self, self._events.close)
        metadata = SourceMetadata(writer="hookline.loggers.event_file")
        self._events.put(Event(wall_time=time.time(), file_version="brain.Event:2", source_metadata=metadata))
        start = SessionLog(status=SessionLog.START)
        self._events.put(Event(wall_time=time.time(), step=first_step, session_log=start))
        self.flush()

    def write(self, scalars: Scalars, step: int) -> None:
        """Add one event with all these scalars, which must not change afterwards."""
        now = time.time()
        self._events.scalars.append((now, step, scalars))
        if now >= self._next_flush:
            self.flush()

    def write_picture(self, tag: str, png: bytes, step: int) -> None:
        """Add a PNG at once."""
        self.put([picture(tag, png)], step)

    def put(self, values: Sequence[Summary.Value], step: int) -> None:
        """Add an event with values of `hookline.loggers.event_values` at once."""
        self._events.put(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def put_graph(self, definition: bytes) -> None:
        """Add a model's graph, a serialised `GraphDef`, at once."""
        self._events.put(Event(wall_time=time.time(), graph_def=definition))

    def flush(self) -> None:
        """Hand everything to the operating system.

        Raises:
            OSError: it takes nothing, or somebody has deleted the file, to which the system would go on to write.
        """
        self._next_flush = time.time() + self._flush_seconds
        self._events.flush()
        if os.fstat(self._events.file.fileno()).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "the file was deleted", str(self.path))

    def sync(self) -> int:
        """Write everything to the disk, and return the file's length in bytes."""
        if self._complete.alive:
            self.flush()
            os.fsync(self._events.file.fileno())
        return self._events.length

    def close(self) -> None:
        """Flush and close; nothing can be written after it."""
        self._complete()


class _Events:
    """The events of a file that are not written yet, and the file."""

    def __init__(self, file: FileIO) -> None:
        self.file = file
        self.length = 0
        self.scalars: list[tuple[float, int, Scalars]] = []

    def put(self, event: Event) -> None:
        """Write an event at once."""
        self._append(record(event.SerializeToString()))

    def flush(self) -> None:
        """Write the scalars; where that fails, the file is as it was and the next flush tries again."""
        tags: tuple[str, ...] = ()
        event = Event()
        records = []
        for event_time, step, scalars in self.scalars:
            if tuple(scalars) != tags:
                tags = tuple(scalars)
                event = Event(summary=Summary(value=[Summary.Value(tag=tag) for tag in tags]))
            # The same event is filled anew: making one costs ten times as much.
            event.wall_time = event_time
            event.step = step
            for place, value in zip(event.summary.value, scalars.values(), strict=True):
                place.simple_value = value
            records.append(record(event.SerializeToString()))
        self._append(b"".join(records))
        self.scalars.clear()

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self.file.close()

    def _append(self, content: bytes) -> None:
        try:
            left = memoryview(content)
            while left:
                left = left[self.file.write(left) :]
        except OSError:  # such as a full disk: half a record would make all that follow unreadable
            self.file.truncate(self.length)
            self.file.seek(self.length)
            raise
        self.length += len(content)


def _new_name(folder: Path) -> str:
    # The form of the name is TensorBoard's. It reads a run's files in the order of their names, which begin with a time
    # in seconds; one that is made in the same second as another, or after the clock was set back, must come last too.
    numbers = [path.name.removeprefix(PREFIX).partition(".")[0] for path in event_files(folder)]
    number = max([int(time.time()), *(int(text) + 1 for text in numbers if text.isdigit())])
    return f"{PREFIX}{number:010d}.{socket.gethostname()}.{os.getpid()}.0"
