"""The lock of a job: held by its process, and by nothing else, for as long as that lives."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

LOCK_FILE = "lock"

# How long taking a lock is tried: somebody who only asks whether it is held has it for microseconds.
PATIENCE = 0.5


def take(path: Path, patience: float = 0.0) -> int | None:
    """Return the descriptor of a lock that is held from now on, or None where somebody else has it.

    The lock belongs to the open file (flock): processes that are forked from this one hold it, too, and the kernel
    gives it back when the last of them is gone, however it ended.

    Args:
        path: the lock's file; it is made where there is none, and stays.
        patience: seconds for which it is tried.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(descriptor)
                return None
            time.sleep(0.01)


def is_held(path: Path) -> bool:
    """Say whether a process has the lock of this file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
