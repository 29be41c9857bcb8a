"""Processes that end with those that started them."""

from __future__ import annotations

import os
import signal
import threading
import time

# Seconds that a job has to save its state before it is killed.
GRACE = 5.0


def end_group(leader: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process and to all that belong to its group, if they are still there."""
    for send in (os.killpg, os.kill):
        try:
            send(leader, number)
            return
        except ProcessLookupError:  # the process has not yet made its group, or is gone
            continue


def end_with(pipe: int) -> None:
    """Let this process end in order once the other end of a pipe is closed, which its holder's death does.

    It gets a SIGTERM, as from a person; if it has not ended by itself `GRACE` seconds later, its whole group is killed.
    """

    def wait() -> None:
        while os.read(pipe, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
