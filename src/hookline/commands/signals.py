"""Signals that end a run so that it can go on later."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hookline.engine import Runner

# What cluster schedulers and terminals send. SIGUSR2 is there as NCCL takes SIGUSR1 for itself.
SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2")


def exit_status(name: str) -> int:
    """Return the exit status of a run that a signal ended: 128 and the signal's number, as shells have it."""
    return 128 + getattr(signal, name)


@contextmanager
def ending(runner: Runner) -> Iterator[None]:
    """Let the signals end the run once the update at hand is finished; a second SIGINT ends it at once.

    Off the main thread, where Python allows no handlers, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        runner.interrupt(signal.Signals(number).name)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {name: signal.getsignal(getattr(signal, name)) for name in SIGNALS if hasattr(signal, name)}
    for name in before:
        signal.signal(getattr(signal, name), handle)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
