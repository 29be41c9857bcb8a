"""What appears on the screen: log lines, and at most one progress bar below them."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from tqdm import tqdm


class ConsoleHandler(logging.Handler):
    """Print messages to stdout without breaking a running progress bar, and without stack traces (the log has them)."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(record.getMessage(), file=sys.stdout)
            sys.stdout.flush()
        except Exception:  # as logging's own handlers do: a message that cannot be shown must not end a run
            self.handleError(record)


def shows_bar() -> bool:
    """Say whether a progress bar can be shown: stderr, where it goes, is a terminal."""
    return sys.stderr.isatty()


def clock_time(seconds: float) -> str:
    """Return `h:mm:ss` or `m:ss`."""
    return tqdm.format_interval(seconds)


def shown(path: Path) -> str:
    """Return the path as a person would type it: relative to the current folder if it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
