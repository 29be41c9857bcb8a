"""What appears on the screen: log lines, and at most one progress bar below them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from shutil import get_terminal_size

from tqdm import tqdm

from hookline.loggers.streams import harmless, silence

log = logging.getLogger(__name__)

# How important it is, and a text.
Part = tuple[int, str]


class ConsoleHandler(logging.Handler):
    """Print messages to stdout without breaking a running progress bar, and without stack traces (the log has them).

    A message that was logged with `extra={"parts": ...}` is fitted into a terminal's width; files have all of it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            parts = getattr(record, "parts", None) if sys.stdout.isatty() else None
            text = fitted(parts, columns()) if parts else record.getMessage()
            tqdm.write(harmless(text), file=sys.stdout)
            sys.stdout.flush()
        except OSError as error:  # the screen has gone, or its file is full, which must not end a run
            silence(sys.stdout)
            log.debug("nothing is shown from here on: %s", error)
        except Exception:  # as logging's own handlers do: a message that cannot be shown must not end a run
            self.handleError(record)


def log_file_lengths(folder: Path) -> dict[str, int]:
    """Return the lengths in bytes of the log files that are being written in a folder, by name."""
    lengths = {}
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).is_relative_to(folder.resolve()):
            with suppress(OSError):  # a full disk: what is not written yet is of no length
                handler.flush()
            path = Path(handler.baseFilename)
            lengths[str(path.relative_to(folder.resolve()))] = path.stat().st_size
    return lengths


def fitted(parts: Iterable[Part], width: int | None = None) -> str:
    """Return the parts side by side, without the least important ones where not all fit.

    Args:
        parts: pairs of importance and text.
        width: columns; None for as many as there are letters.
    """
    kept = list(parts)
    while width is not None and len(kept) > 1 and len(_joined(kept)) > width:
        kept.remove(min(kept, key=lambda part: part[0]))
    return _joined(kept)


def _joined(parts: Iterable[Part]) -> str:
    return "  ".join(text for _, text in parts)


def columns() -> int:
    """Return the width of the terminal; 80 where it has none."""
    return get_terminal_size().columns


def shows_bar() -> bool:
    """Say whether a progress bar can be shown: stderr, where it goes, is a terminal."""
    return sys.stderr.isatty()


def clock_time(seconds: float) -> str:
    """Return `h:mm:ss` or `m:ss`."""
    return tqdm.format_interval(seconds)


def shown(path: Path) -> str:
    """Return the path as a person would type it: relative to the current folder if it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
