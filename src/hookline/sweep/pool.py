"""The launcher's side of the fork server."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hookline.sweep.server import MESSAGE
from hookline.sweep.watch import end_group

# What a job prints, also by the words of C libraries, beside its log.
OUTPUT = "console.log"


# For libraries that start threads when they are imported: OpenBLAS, and the allocator of Arrow, which pandas brings.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


@dataclass(frozen=True)
class Ended:
    """A process that has ended.

    Attributes:
        pid: of the process.
        status: its exit status; minus the number of the signal that ended it.
        lost: whether it went with its machine, by no fault of the job's.
    """

    pid: int
    status: int
    lost: bool = False


class ServerLost(Exception):
    """The fork server is gone; its jobs end by themselves."""


class Pool:
    """Starts jobs from a fork server, and tells when they end.

    Args:
        entry: `module:function`, which gets a job's directory and a pipe: see `hookline.sweep.server`.
        modules: what jobs import, to be imported once.

    Attributes:
        ready: whether the server has done its imports, as far as its messages were read.
        forks: whether jobs are forked from it; else each is a fresh process.
    """

    def __init__(self, entry: str, modules: Sequence[str] = ()) -> None:
        self.forks = True
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for one in (self._control, theirs):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE)
        environment = {**os.environ, **ONE_THREAD}
        environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "hookline.sweep.server", str(theirs.fileno()), entry, *modules],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self.ready = False
        self._ended: list[Ended] = []

    def start(self, directory: Path, locks: Sequence[int], environment: dict[str, str]) -> int:
        """Start a job and return its process's number.

        Args:
            directory: of the job.
            locks: descriptors that the job's process holds as long as it lives.
            environment: what is set on top of this process's own.

        Raises:
            ServerLost: the fork server has gone.
        """
        job = {
            "directory": str(directory),
            "output": str(directory / OUTPUT),
            "environment": environment,
            "path": [path or os.getcwd() for path in sys.path],
            "arguments": sys.argv,
            "command": sys.orig_argv,
        }
        try:
            socket.send_fds(self._control, [json.dumps(job).encode()], list(locks))
        except OSError as error:
            raise ServerLost from error
        while True:
            message = self._receive()
            if "started" in message:
                return int(message["started"])

    def wait(self, seconds: float, wake: int | None = None) -> list[Ended]:
        """Return the processes that have ended, after at most so many seconds.

        Args:
            seconds: how long it waits if there is nothing to tell.
            wake: a descriptor that ends the waiting when something is to be read from it.

        Raises:
            ServerLost: the fork server has gone.
        """
        others = [] if wake is None else [wake]
        mine = self._control.fileno()
        if not self._ended and mine in select.select([mine, *others], [], [], seconds)[0]:
            self._receive()
        ended, self._ended = self._ended, []
        return ended

    def _receive(self) -> dict[str, Any]:
        try:
            content = self._control.recv(MESSAGE)
        except OSError as error:
            raise ServerLost from error
        if not content:
            raise ServerLost
        message: dict[str, Any] = json.loads(content)
        if "ended" in message:
            self._ended.append(Ended(message["ended"], message["status"]))
        if "ready" in message:
            self.ready, self.forks = True, message["forks"]
        return message

    def ask_to_end(self, pid: int) -> None:
        """Ask a job to save its state and to end; its workers end with it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def kill(self, pid: int) -> None:
        """End a job and all its processes at once."""
        end_group(pid)

    def alive(self) -> bool:
        """Say whether the server is there."""
        return self._server.poll() is None

    def close(self) -> None:
        """End the server, which ends its jobs, and wait until it is gone."""
        self._control.close()
        self._server.wait()
