"""Kills of one save, at each of its system calls."""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from _chaos.runs import Processes

# System calls of a save.
CALLS = ("mkdir", "openat", "lseek", "write", "writev", "mmap", "fsync", "rename", "link", "unlink", "close")
Event = multiprocessing.synchronize.Event


def crash_points(processes: Processes, place: Path) -> bool:
    """Kill a save at each of its system calls, and say whether a good checkpoint was left each time."""
    from hookline.checkpoint import CheckpointFolder

    found: Counter[str] = Counter()
    bad = 0
    for call in CALLS:
        number = 0
        while True:
            number += 1
            folder = place / f"{call}_{number}"
            ready, go = processes.Event(), processes.Event()
            process = processes.Process(target=save_in_turns, args=(folder, ready, go))
            process.start()
            ready.wait()
            tracer = trace(process.pid, call, number)
            go.set()
            process.join()
            tracer.wait()
            newest = CheckpointFolder(folder / "checkpoints").newest()
            good = newest is not None and newest[1]["iter"] in (1, 2)
            bad += not good
            shutil.rmtree(folder)
            if process.exitcode == 0:
                break
            found[call] += 1
            if not good:
                print(f"killed at {call} number {number}: no good checkpoint was left")
    points = ", ".join(f"{call} {count}" for call, count in found.items())
    print(f"killed at each of {found.total()} system calls of a save ({points}): {bad} left no good checkpoint")
    return not bad


def save_in_turns(
    folder: Path, ready: multiprocessing.synchronize.Event, go: multiprocessing.synchronize.Event
) -> None:
    """Write a first checkpoint with its links, wait for `go`, and write a second one as the checkpoint hook does."""
    import torch

    from hookline.checkpoint import CheckpointFolder, write

    checkpoints = CheckpointFolder(folder / "checkpoints")

    def save(number: int) -> None:
        path = checkpoints.path(number)
        write(path, {"iter": number, "weights": torch.full((1000,), float(number))})
        checkpoints.link("last.pt", path)
        checkpoints.link("best.pt", path)
        checkpoints.prune(1)

    save(1)
    ready.set()
    go.wait()
    save(2)


def trace(pid: int | None, call: str, number: int) -> subprocess.Popen[bytes]:
    """Attach strace to a process and its threads, to kill it at the call of this number from now on."""
    arguments = ["-f", "-p", str(pid), "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
    tracer = subprocess.Popen(["strace", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    if b"attached" not in line:
        raise RuntimeError(f"strace cannot be used here: {line.decode().strip()}")
    # The rest of what it says is of no interest, and must not fill the pipe.
    subprocess.Popen(["cat"], stdin=tracer.stderr, stdout=subprocess.DEVNULL)
    return tracer
