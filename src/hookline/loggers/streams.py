"""Standard output and error that are closed, full, or cannot show every character."""

from __future__ import annotations

import os
import sys
from typing import TextIO

# Lets a terminal write the line that it is in anew.
CLEAR_LINE = "\r\x1b[K"

# Characters that a terminal obeys instead of showing them, but for the ends of lines and tabs.
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def harmless(text: str) -> str:
    """Return a text with its control characters escaped: names of files and classes may be anybody's."""
    return text.translate(CONTROLS)


def open_streams() -> None:
    """Make standard output and error usable: what is closed goes nowhere, and what cannot be shown is escaped.

    Without this the next file that is opened would get a closed stream's number, and be written to by every message.
    """
    for number, name in ((1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def silence(stream: TextIO) -> None:
    """Send what else is written to a stream nowhere: its reader has gone, or its disk is full."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # one without a file, as tests put in place
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def say(message: str) -> None:
    """Print a message to standard error, if anything can be."""
    try:
        print(harmless(message), file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)
