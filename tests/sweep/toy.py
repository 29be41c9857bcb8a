"""Jobs that train nothing, and a launch of them as a process of its own.

    python -m tests.sweep.toy SWEEP_DIR SLOTS JOB ...

A job does what its name begins with, before the first dash.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from hookline.sweep.jobs import read_state
from hookline.sweep.launch import BUSY, Launch
from hookline.sweep.lock import LOCK_FILE, take
from hookline.sweep.pool import Pool
from hookline.sweep.slots import Slot
from hookline.sweep.store import write_state
from hookline.sweep.watch import end_with

ENTRY = "tests.sweep.toy:run"


def run(directory: str, alive: int | None) -> int:
    """Do what the job's name says, as `hookline.commands.sweep_job` does with a run."""
    place = Path(directory)
    if take(place / LOCK_FILE) is None:
        return BUSY
    if read_state(place)["state"] == "done":
        return 0
    if place.name == "early":
        os._exit(4)
    if alive is not None:
        end_with(alive)
    write_state(place, "running")
    with (place / "tries").open("a") as file:
        file.write(f"{os.getpid()}\n")
    what = place.name.partition("-")[0]
    if what == "abort":
        os.abort()
    elif what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "progress" and not (place / "checkpoints").exists():
        (place / "checkpoints").mkdir()
        (place / "checkpoints" / "iter_00000001.pt").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # first, as a SIGTERM would else leave the next process alone
        subprocess.Popen(["sleep", "1000"])  # of its group, like a worker
        time.sleep(1000)
    elif what == "leave":
        os._exit(3)
    elif what == "busy":
        os._exit(BUSY)
    elif what == "mute":  # as on a full disk, its state cannot be written
        (place / "state.json").unlink()
        (place / "state.json").mkdir()
        os._exit(1)
    elif what == "wait":
        signal.signal(signal.SIGTERM, lambda number, frame: interrupted(place))
        while not (place.parent / "go").exists():
            time.sleep(0.01)
    (place / "environment").write_text(json.dumps(dict(os.environ)))
    write_state(place, "done", value="1.0")
    return 0


def interrupted(place: Path) -> None:
    """End as a training does that was told to."""
    write_state(place, "interrupted", reason="SIGTERM")
    os._exit(143)


class Notes:
    """Notes what happens to jobs."""

    def __init__(self) -> None:
        self.states: list[tuple[str, str, str | None]] = []

    def began(self, job: Path, slot: Slot) -> None:
        print("began", job.name, flush=True)

    def ended(self, job: Path, state: str, reason: str | None) -> None:
        self.states.append((job.name, state, reason))

    def look(self, running: object, elsewhere: object, waiting: int) -> None:
        pass


def launch(sweep: Path, names: list[str], slots: list[Slot], **options: float) -> tuple[Launch, Notes]:
    """Run jobs of these names to their end, and return the launch and what it told."""
    jobs = [sweep / name for name in names]
    for job in jobs:
        job.mkdir(parents=True, exist_ok=True)
    notes = Notes()
    launched = Launch(jobs, slots, lambda: Pool(ENTRY), notes, **options)  # type: ignore[arg-type]
    launched.run()
    return launched, notes


if __name__ == "__main__":
    launched, _ = launch(Path(sys.argv[1]), sys.argv[3:], [Slot() for _ in range(int(sys.argv[2]))])
    sys.exit(launched.signal or 0)
