"""What the processes of one run say of themselves when they meet."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Hello:
    """What a process says of itself when it comes.

    Attributes:
        host: the name of its machine.
        machine: the machine and the space of process numbers on it.
        pid: its number there.
        began: when it began, which tells it from a later one of the same number.
        cores: the numbers of the cores that it may use.
        arguments: its command line.
    """

    host: str
    machine: str
    pid: int
    began: str
    cores: tuple[int, ...]
    arguments: tuple[str, ...]

    @classmethod
    def own(cls) -> Hello:
        """Return this process's."""
        boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
        machine = f"{boot.read_text().strip()} {os.readlink(space)}" if boot.exists() else socket.gethostname()
        cores = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
        began = _state_of(os.getpid())[1]
        return cls(socket.gethostname(), machine, os.getpid(), began, cores, tuple(sys.argv[1:]))

    def gone(self) -> bool:
        """Say whether the process, which must be one of this machine, has ended."""
        state, began = _state_of(self.pid)
        return state in "ZX" or began != self.began


def _state_of(pid: int) -> tuple[str, str]:
    """Return the state of a process, empty where there is none, and when it began."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], fields[19]
