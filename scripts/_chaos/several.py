"""Kills of processes that train together."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from _chaos.runs import RUN, TRAIN, compare, digests, members

# Seconds in which all processes of a run have ended once one of them was killed.
END = 15


def several(place: Path, count: int, kills: int, seed: int) -> bool:
    """Kill processes of a run that has several, go on with it each time, and say whether it came to the same end."""
    moments, killed, runs, same = random.Random(seed), Counter[str](), 0, True
    whole = start_several(place, "whole", count)
    whole.wait()
    expected = digests(place / "whole")
    print(f"a run of {count} processes that nobody interrupts: exit status {whole.returncode}", flush=True)
    while killed.total() < kills:
        runs += 1
        name, of_this_run = f"run_{runs}", 0
        while True:
            launcher, before = start_several(place, name, count), newest(place / name)
            while killed.total() < kills and launcher.poll() is None and newest(place / name) == before:
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.5))
            there = members(str(place))
            ranks = sorted(pid for pid, parent in there.items() if parent == launcher.pid)
            target = moments.choice([("launcher", launcher.pid), *((f"process {i}", p) for i, p in enumerate(ranks))])
            if killed.total() >= kills or launcher.poll() is not None:
                break
            with suppress(ProcessLookupError):
                os.kill(target[1], signal.SIGKILL)
                killed[target[0]] += 1
                of_this_run += 1
            began = time.monotonic()
            while members(str(place)) and time.monotonic() < began + END:
                launcher.poll()
                time.sleep(0.05)
            if left := members(str(place)):
                print(f"{END} seconds after {target[0]} was killed there are processes: {left}")
                return False
        launcher.wait()
        if launcher.returncode:
            print((place / f"{name}.out").read_text()[-2000:])
            return False
        same &= compare(f"{name}, killed {of_this_run} times", expected, digests(place / name))
    told = ", ".join(f"{what} {number}" for what, number in sorted(killed.items()))
    print(f"{killed.total()} kills ({told}) in {runs} runs")
    return same


def start_several(place: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    """Start a training of several processes, or go on with it; its environment marks all that come from it."""
    command = [sys.executable, str(TRAIN), *RUN]
    options = [f"distributed.processes={count}", f"hydra.run.dir={place / name}", "resume=auto"]
    with (place / f"{name}.out").open("a") as shown:
        environment = {**os.environ, "CHAOS": str(place)}
        return subprocess.Popen([*command, *options], env=environment, stdout=shown, stderr=shown)


def newest(folder: Path) -> str:
    """Return the name of the newest checkpoint of a run, an empty string where it has none."""
    return max((path.name for path in folder.glob("checkpoints/iter_*.pt")), default="")
