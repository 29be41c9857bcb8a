"""Videos: their frames as pictures, and pictures as a video, by PyAV (FFmpeg)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from hookline.config.errors import reason_of
from hookline.config.packages import need

# What a file is taken for a video by; any of these that PyAV cannot read ends in an error that says so.
SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3gp", "asf", "avi", "flv", "m2ts", "m4v", "mjpeg", "mkv", "mov", "mp4"),
        *("mpeg", "mpg", "mts", "ogv", "ts", "vob", "webm", "wmv"),
    )
)

# For a video that does not say its own.
USUAL_RATE = Fraction(25)


@dataclass(frozen=True)
class Frame:
    """A picture of a video.

    Attributes:
        number: counted from 0.
        seconds: when it is shown, from the beginning.
        pixels: uint8 `[H, W, 3]`, the right way up.
    """

    number: int
    seconds: float
    pixels: np.ndarray


class VideoError(ValueError):
    """A video cannot be decoded, or not to its end; the text is a short reason."""


def av_library() -> Any:
    """Return the package `av`.

    Raises:
        ConfigError: it is not installed.
    """
    need("a video", "video", "av")
    return import_module("av")


@dataclass(frozen=True)
class VideoInfo:
    """What a video says of itself.

    Attributes:
        rate: frames per second.
        count: how many frames there are; 0 where the file does not say.
    """

    rate: Fraction
    count: int


def video_info(path: Path) -> VideoInfo:
    """Return what a video says of itself.

    Raises:
        VideoError: it is none, or has no pictures in it.
    """
    with _opened(path) as (_, stream):
        return VideoInfo(stream.average_rate or USUAL_RATE, stream.frames)


def frames_of(path: Path, every: int = 1) -> Iterator[Frame]:
    """Yield every so many-th frame of a video, one at a time.

    Raises:
        VideoError: the file is no video, has no frames, or is broken; the frames before that have been yielded.
    """
    av = av_library()
    number = -1
    with _opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        start = float((stream.start_time or 0) * stream.time_base)
        rate = stream.average_rate or USUAL_RATE
        try:
            for number, frame in enumerate(container.decode(stream)):
                if number % every == 0:
                    seconds = float(number / rate) if frame.time is None else frame.time - start
                    # A phone's camera turns nothing but notes how it was held: in degrees, against the clock.
                    turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                    yield Frame(number, seconds, np.ascontiguousarray(turned))
        except av.FFmpegError as error:
            raise VideoError(f"it is broken after {number + 1} frames: {_reason(error)}") from error
    if number < 0:
        raise VideoError("it has no frames")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Yield a video's container and the stream of its pictures."""
    av = av_library()
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"it cannot be opened as a video: {_reason(error)}") from error
    with container:
        if not container.streams.video:
            raise VideoError("it has no pictures in it")
        yield container, container.streams.video[0]


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or reason_of(error)


class VideoWriter:
    """A video in H.264 that is made frame by frame; `path` ends in `.mp4`.

    Args:
        path: where to.
        rate: frames per second.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        self._container = av_library().open(str(path), "w")
        self._rate = rate
        self._stream: Any = None

    def write(self, pixels: np.ndarray) -> None:
        """Add a frame, uint8 `[H, W, 3]` of the first one's size; an odd last row or column is left out."""
        height, width = (side - side % 2 for side in pixels.shape[:2])
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=self._rate)
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        frame = av_library().VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what is left, and the file's end."""
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
