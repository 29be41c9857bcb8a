"""Signals that end a run so that it can go on later."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from hookline.commands.peers import PeerLost, peers
from hookline.engine import Runner
from hookline.engine.runner import Interrupted

# What cluster schedulers and terminals send. SIGUSR2 is there as NCCL takes SIGUSR1 for itself.
SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP")


def exit_status(name: str) -> int:
    """Return the exit status of a run that a signal ended: 128 and the signal's number, as shells have it."""
    return 128 + getattr(signal, name)


def handled() -> list[str]:
    """Return those of `SIGNALS` that there are on this system; SIGHUP stays ignored where it is, as under nohup."""
    found = [name for name in SIGNALS if hasattr(signal, name)]
    return [name for name in found if name != "SIGHUP" or signal.getsignal(signal.SIGHUP) != signal.SIG_IGN]


@contextmanager
def ending() -> Iterator[Callable[[Runner], None]]:
    """Let the signals end a run in order, and give a function that takes the runner once it is there.

    Before that a signal raises `Interrupted` at once; from then on the run ends once the update at hand is finished. A
    second SIGINT ends it at once, in a run of one process; of several, the launcher is who ends them.

    Where another process cannot go on, a signal means that: launchers end the others when one has ended. After the
    block no signal ends one of several processes: it still writes and tells how the run has ended, which is soon done.

    Off the main thread, where Python allows no handlers, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda runner: None
        return
    attached: list[Runner] = []

    def handle(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        mine = peers()
        loss = None if mine is None else mine.loss or mine.cause_of(Interrupted(name))
        if loss is not None and (not attached or attached[0].status == "running"):
            raise PeerLost(loss)
        if not attached:
            raise Interrupted(name)
        attached[0].interrupt(name)
        if number == signal.SIGINT and mine is None:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {name: signal.getsignal(getattr(signal, name)) for name in handled()}
    for name in before:
        signal.signal(getattr(signal, name), handle)
    try:
        yield attached.append
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler if peers() is None else lambda *_: None)
