"""Kills of what belongs to sweeps."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from _chaos.runs import BATCH_SIZE, RUN, TRAIN, Processes, digests, members, whole_run

# What the three bad jobs of a sweep have instead; the others have a seed each.
BAD = {
    "batch": "data: {batch_size: 0}",
    "missing": "model: {model_name: no_such_model}",
    "hanging": "hooks: {hang: {_target_: chaos_hang.Hang}}",
}
HANG = """import time
from hookline.hooks import Hook


class Hang(Hook):
    def before_run(self, runner):
        time.sleep(10000)
"""
GOOD = 9
# A loader with a process of its own, so that there are workers to be killed.
WORKERS = ("data.in_memory=false", "data.workers=1", "data.worker_type=process")
# The size of a batch stands in the files: on the command line it would mend the job whose batch is impossible.
JOB = (*(one for one in RUN if one != BATCH_SIZE), *WORKERS)
# Seconds after which the hanging job is ended; far more than a good one takes.
TIMEOUT = 40
# Seconds after which none of a sweep is left when its launcher was killed.
GONE = 10


def sweeps(processes: Processes, place: Path, kills: int, seed: int, launchers: int) -> bool:
    """Kill what belongs to sweeps at random, one sweep after the other, and say whether nothing is wrong."""
    moments, killed, good = random.Random(seed), Counter[str](), True
    options = place / "conf" / "experiment"
    options.mkdir(parents=True)
    (place / "chaos_hang.py").write_text(HANG)
    size = f"data: {{{BATCH_SIZE.removeprefix('data.').replace('=', ': ')}}}"
    files = BAD | {f"good_{number}": f"seed: {number}\n{size}" for number in range(GOOD)}
    for name, node in files.items():
        (options / f"{name}.yaml").write_text(f"# @package _global_\n{node}\n")
    alone = {}
    for name in (f"experiment=good_{number}" for number in range(GOOD)):
        alone[name] = whole_run(processes, place / name, ["--config-dir", str(place / "conf"), name, *JOB])
    number = 0
    while killed.total() < kills:
        number += 1
        before, directory = killed.total(), place / "outputs" / "sweeps" / f"sweep_{number}"
        launches, left = run_through(place, directory, moments, killed, kills, launchers)
        told = f"sweep {number}, killed {killed.total() - before} times in {launches} launches, {launchers} at once"
        good &= compare_jobs(told, directory, alone) and not left
    told = ", ".join(f"{what} {count}" for what, count in sorted(killed.items()))
    print(f"{killed.total()} kills ({told}) in {number} sweeps")
    return good


def run_through(
    place: Path, directory: Path, moments: random.Random, killed: Counter[str], kills: int, launchers: int
) -> tuple[int, dict[int, int]]:
    """Kill what belongs to a sweep at random, and launch it again until it is through.

    Returns:
        How many launches there were, and what was left of one after its launcher was killed.
    """
    launches, left = 0, dict[int, int]()
    while True:
        # A good job that was killed before its first checkpoint counts as failed, as one does that has no memory.
        retry = "launcher.retry_failed=true" if good_ones_failed(directory) else ""
        together = [start_sweep(place, directory.name, number, retry) for number in range(launchers)]
        launches += launchers
        while killed.total() < kills and (going := [launch for launch in together if launch.poll() is None]):
            if moments.random() < 0.5:  # else a slow machine sees launches and fork servers killed alone
                wait_for_jobs(going)
            time.sleep(moments.uniform(0.5, 8))
            launch = moments.choice(going)
            if launch.poll() is None and (target := moments.choice(targets(launch))) is not None:
                what, pid = target
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed[what] += 1
                if what == "launcher" and (found := left_by(launch)):
                    print(f"{GONE} seconds after a launcher was killed there are processes: {found}", flush=True)
                    left |= found
        ended = [launch.wait() for launch in together]
        if any(status != -signal.SIGKILL for status in ended) and not good_ones_failed(directory):
            return launches, left


class Launch(subprocess.Popen[bytes]):
    """A launch of the sweep, in a process whose environment marks all that come from it."""

    def __init__(self, command: Sequence[str], place: Path, number: int) -> None:
        self.mark = f"{place}/{number}"
        path = f"{place}:{os.environ.get('PYTHONPATH', '')}"
        with (place / "out").open("a") as shown:
            environment = {**os.environ, "CHAOS": self.mark, "PYTHONPATH": path}
            super().__init__(command, cwd=place, env=environment, stdout=shown, stderr=shown)


def start_sweep(place: Path, name: str, number: int, *more: str) -> Launch:
    """Launch a sweep, or go on with it."""
    command = [sys.executable, str(TRAIN), "--config-dir", "conf", "-m"]
    options = [
        f"experiment={','.join([*BAD, *(f'good_{good}' for good in range(GOOD))])}",
        f"launcher.name={name}",
        "launcher.slots=2",
        f"launcher.job_timeout={TIMEOUT}",
    ]
    return Launch([*command, *options, *JOB, *filter(None, more)], place, number)


def left_by(launch: Launch) -> dict[int, int]:
    """Return the processes of a launch that are still there when they should have ended with it."""
    until = time.monotonic() + GONE
    while (left := members(launch.mark)) and time.monotonic() < until:
        launch.poll()
        time.sleep(0.1)
    return left


def good_ones_failed(directory: Path) -> bool:
    """Say whether a job of a sweep has failed that should not have."""
    from hookline.sweep.jobs import read_state

    good = sorted(path.parent for path in directory.glob("experiment=good_*/job.json"))
    return any(read_state(job)["state"] == "failed" for job in good)


def targets(launch: Launch) -> list[tuple[str, int] | None]:
    """Return one process of each kind that there is: launcher, fork server, a job and a worker of one."""
    parents = members(launch.mark)
    kinds = {"launcher": [launch.pid], "server": [pid for pid, parent in parents.items() if parent == launch.pid]}
    kinds["job"] = [pid for pid, parent in parents.items() if parent in kinds["server"]]
    kinds["worker"] = [pid for pid, parent in parents.items() if parent in kinds["job"]]
    return [(kind, pids[-1]) for kind, pids in kinds.items() if pids] or [None]


def wait_for_jobs(launches: Sequence[Launch]) -> None:
    """Wait until a job of these launches runs or one of them has ended."""
    while all(launch.poll() is None for launch in launches):
        if any(one and one[0] == "job" for launch in launches for one in targets(launch)):
            return
        time.sleep(0.2)


def compare_jobs(told: str, directory: Path, alone: dict[str, dict[str, str]]) -> bool:
    """Say whether each good job came to the end of the same run alone, each bad one failed, and the table has all."""
    from hookline.sweep.jobs import read_sweep
    from hookline.sweep.report import JOBS_TABLE

    states = {job.name: job.state for job in read_sweep(directory).jobs}
    expected = {f"experiment={name}": "failed" for name in BAD} | dict.fromkeys(alone, "done")
    with (directory / JOBS_TABLE).open(newline="") as file:
        reported = {row["job"]: row["state"] for row in csv.DictReader(file)}
    for found in (states, reported):
        if found != expected:
            print(f"{told}: the states are {found} in place of {expected}")
            return False
    different = [name for name, whole in alone.items() if digests(directory / name) != whole]
    print(f"{told}: {f'different: {different}' if different else 'all good jobs the same'}", flush=True)
    return not different
