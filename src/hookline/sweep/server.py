"""A process with all imports done, from which each job is forked in a tenth of a second.

    python -m hookline.sweep.server CONTROL ENTRY MODULE ...

`CONTROL` is the descriptor of a socket: for each job a message of JSON comes in, with the descriptors of its slots'
locks, and one goes out when it has begun and one when it has ended. `ENTRY` is `module:function`; it gets the job's
directory and the descriptor of a pipe that is closed when this process is gone, and returns an exit status. The modules
are those that jobs need.

Forking is safe only from a process with one thread that has computed nothing: threads of OpenMP are not forked, and
their team waits for them for ever. So this one only imports. Where the imports have begun a thread or initialised CUDA
all the same, each job is a fresh process instead.

When the socket is closed, as by the launcher's death, jobs get a SIGTERM; what is left of them after `GRACE` seconds
is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pkgutil import resolve_name
from typing import Any

from hookline.sweep.watch import GRACE, end_group

# Above what a message takes: the module path of Python is most of it.
MESSAGE = 1 << 20
# How many descriptors a message can have on Linux.
LOCKS = 253


def main(arguments: Sequence[str]) -> None:
    """Import, then fork jobs until the socket is closed."""
    control, entry = socket.socket(fileno=int(arguments[0])), arguments[1]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_if_closed(control)
    gc.disable()
    for name in (entry.partition(":")[0], *arguments[2:]):
        import_module(name)
    gc.freeze()
    gc.enable()
    forks = can_fork()
    fcntl.fcntl(control, fcntl.F_SETFL, fcntl.fcntl(control, fcntl.F_GETFL) & ~os.O_ASYNC)
    tell(control, ready=True, forks=forks)

    alive, mine = os.pipe()  # its write end is nowhere else, and so closed when this process is gone
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    jobs: set[int] = set()
    while True:
        ready, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            reap(jobs, control)
        if control.fileno() in ready:
            try:
                message, locks, _, _ = socket.recv_fds(control, MESSAGE, LOCKS)
            except ConnectionResetError:  # the launcher has gone without reading all that it was told
                break
            if not message:
                break
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                for descriptor in (mine, woken, wake, control.detach()):
                    os.close(descriptor)
                become(json.loads(message), entry, alive, forks)
            for lock in locks:
                os.close(lock)
            jobs.add(pid)
            tell(control, started=pid)
    for pid in jobs:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + GRACE
    while jobs and (rest := until - time.monotonic()) > 0:
        if select.select([woken], [], [], rest)[0]:
            os.read(woken, 4096)
        reap(jobs, None)
    for pid in jobs:
        end_group(pid)


def end_if_closed(control: socket.socket) -> None:
    """Let the kernel end this process when the launcher has gone while it imports, which may take seconds.

    The signal for a socket with something to read is SIGIO, and its default is to end the process; nothing else is sent
    before this process has said that it is ready.
    """
    fcntl.fcntl(control, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(control, fcntl.F_SETFL, fcntl.fcntl(control, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([control.fileno()], [], [], 0)[0]:  # it had gone before
        os._exit(1)


def can_fork() -> bool:
    """Say whether this process has one thread and no CUDA, so that what is forked from it can use both."""
    torch: Any = sys.modules.get("torch")
    return len(os.listdir("/proc/self/task")) == 1 and not (torch and torch.cuda.is_initialized())


def reap(jobs: set[int], control: socket.socket | None) -> None:
    """Take note of the jobs that have ended, and end what they have left behind."""
    for pid in list(jobs):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            jobs.remove(pid)
            end_group(pid)
            if control is not None:
                tell(control, ended=pid, status=os.waitstatus_to_exitcode(status))


def tell(control: socket.socket, **message: Any) -> None:
    """Send a message, if the launcher is still there to read it."""
    with contextlib.suppress(OSError):
        control.send(json.dumps(message).encode())


def become(job: dict[str, Any], entry: str, alive: int, forks: bool) -> None:
    """Be a job from here on: its own session, its output, environment and folder."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            print(f"{error.filename}: {error.strerror}", file=sys.stderr)
            return
        for number, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
            os.dup2(source, number)
        os.environ.update(job["environment"])
        sys.path[:] = job["path"]
        sys.argv[:], sys.orig_argv[:] = job["arguments"], job["command"]
        if not forks:
            os.set_inheritable(alive, True)
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, job["path"]))
            module = entry.partition(":")[0]
            os.execv(sys.executable, [sys.executable, "-m", module, job["directory"], str(alive)])
        status = resolve_name(entry)(job["directory"], alive)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
