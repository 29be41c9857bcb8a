"""Kills a training at random moments, goes on with it each time, and compares what lasts with a run never interrupted.

    python scripts/chaos.py                        50 kills with SIGKILL, half of them while a checkpoint is written
    python scripts/chaos.py --kills 5 --seed 3     fewer, at other moments
    python scripts/chaos.py --chain                one run that is killed in five iterations of one epoch, one by one
    python scripts/chaos.py --crash-points         one save, killed at each of its system calls (needs strace)
    python scripts/chaos.py --sweep --kills 8      sweeps of 12 jobs, three of them bad, launched again when killed
    python scripts/chaos.py --sweep --launchers 3  the same, launched by three at once
    python scripts/chaos.py --processes 2 --kills 20   a run of two processes, of which any, or the launcher, is killed

A run is continued with the command that began it and `resume=auto`. When it has come to its end it is compared, and the
next one begins, until there were enough kills. Of a sweep the launcher, the fork server, a job or a worker is
killed, and each good job is compared with the same run alone. Of a run of several processes all have to end with the
one that is killed. Compared are weights, optimizer, averages, history, best row, table, TensorBoard's series, LR chart,
names of checkpoints and the log's epochs (`hookline.analysis.lasting`). The exit status is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import multiprocessing.synchronize
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

# All that could tell two runs apart. Epochs have 6 iterations, and each iteration writes a checkpoint.
BATCH_SIZE = "data.batch_size=240"
RUN = [
    *("data.transforms.resize=null", BATCH_SIZE, "runner.max_epochs=4", "runner.threads=1"),
    *("optimizer=adamw", "optimizer.lr=0.005", "hooks=ema", "mix=both", "update.micro_batches=2"),
    *("lr_schedule=one_cycle", "momentum_schedule=one_cycle", "+model.drop_rate=0.2", "+model.drop_path_rate=0.1"),
    *("freeze.patterns=[conv1,bn1]", "freeze.epochs=1", "logger.interval=2", "runner.device=cpu"),
    *("checkpoint.interval=1", "checkpoint.by_epoch=false", "checkpoint.max_keep_ckpts=3"),
]
ITERS_PER_EPOCH = 6

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
# Seconds in which all processes of a run have ended once one of them was killed.
END = 15
# Seconds after which none of a sweep is left when its launcher was killed.
GONE = 10
# System calls of a save.
CALLS = ("mkdir", "openat", "lseek", "write", "writev", "mmap", "fsync", "rename", "link", "unlink", "close")

Processes = multiprocessing.context.ForkServerContext
Event = multiprocessing.synchronize.Event


def train(folder: Path, overrides: Sequence[str]) -> None:
    """Run `src/train.py` with these arguments in this process, in a run directory of this name."""
    from hookline.commands.app import run_app

    sys.argv = ["train.py", *overrides, f"hydra.run.dir={folder}", "resume=auto"]
    with Path(f"{folder}.out").open("a") as shown, redirect_stdout(shown), redirect_stderr(shown):
        run_app("hookline.commands.train:train", "train")


def start(processes: Processes, folder: Path, overrides: Sequence[str] = RUN) -> BaseProcess:
    """Start a training, or go on with it, in a process that has all imports done."""
    process = processes.Process(target=train, args=(folder, overrides))
    process.start()
    return process


def kill(process: BaseProcess) -> bool:
    """Kill a process, and say whether it was still there to be killed."""
    if not process.is_alive():
        return False
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


def wait_for(condition: Callable[[], bool], process: BaseProcess) -> None:
    """Wait until a condition holds or the process has ended."""
    while process.is_alive() and not condition():
        time.sleep(0.0005)


def being_written(folder: Path) -> bool:
    """Say whether a checkpoint is being written."""
    checkpoints = folder / "checkpoints"
    return checkpoints.is_dir() and any(name.startswith(".") for name in os.listdir(checkpoints))


def whole_run(processes: Processes, folder: Path, overrides: Sequence[str] = RUN) -> dict[str, str]:
    """Return the digests of a run that nobody interrupts."""
    process = start(processes, folder, overrides)
    process.join()
    check_ended(process, folder)
    return digests(folder)


def digests(folder: Path) -> dict[str, str]:
    """Return the digests of what lasts of a run."""
    from hookline.analysis.lasting import lasting

    return lasting(folder)


def check_ended(process: BaseProcess, folder: Path) -> None:
    """Raise `RuntimeError` where a run did not come to its end by itself."""
    if process.exitcode != 0:
        tail = Path(f"{folder}.out").read_text()[-2000:]
        raise RuntimeError(f"{folder} ended with exit status {process.exitcode}:\n{tail}")


def random_kills(processes: Processes, place: Path, kills: int, seed: int) -> bool:
    """Kill runs at random moments, and say whether each of them came to the same end."""
    moments = random.Random(seed)
    began = time.perf_counter()
    expected = whole_run(processes, place / "whole")
    length = time.perf_counter() - began
    done, runs, same, while_saving = 0, 0, True, 0
    while done < kills:
        runs += 1
        folder, of_this_run = place / f"run_{runs}", 0
        while True:
            process = start(processes, folder)
            if done < kills:
                if moments.random() < 0.5:
                    wait_for(partial(being_written, folder), process)
                    time.sleep(moments.uniform(0, 0.01))
                else:
                    process.join(moments.uniform(0, length))
                if kill(process):
                    done, of_this_run = done + 1, of_this_run + 1
                    while_saving += being_written(folder)
                    continue
            process.join()
            break
        check_ended(process, folder)
        same &= compare(f"run {runs}, killed {of_this_run} times", expected, digests(folder))
    print(f"{done} kills, {while_saving} of them while a checkpoint was written, in {runs} runs")
    return same


def chain(processes: Processes, place: Path) -> bool:
    """Kill a run in five iterations of one epoch, one after the other, and say whether it came to the same end."""
    expected, folder = whole_run(processes, place / "whole"), place / "chain"
    for iteration in range(ITERS_PER_EPOCH + 1, ITERS_PER_EPOCH + 6):
        process = start(processes, folder)
        checkpoint = folder / "checkpoints" / f"iter_{iteration:08d}.pt"
        wait_for(checkpoint.exists, process)
        if not kill(process):
            raise RuntimeError(f"the run had ended before iteration {iteration}")
    process = start(processes, folder)
    process.join()
    check_ended(process, folder)
    return compare("a chain of five resumes within one epoch", expected, digests(folder))


def compare(what: str, expected: dict[str, str], got: dict[str, str]) -> bool:
    """Print what differs, and say whether nothing does."""
    different = [name for name in {**expected, **got} if expected.get(name) != got.get(name)]
    print(f"{what}: {'differs in ' + ', '.join(different) if different else 'the same'}", flush=True)
    return not different


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
    command = [sys.executable, str(Path(__file__).parent.with_name("src") / "train.py"), "--config-dir", "conf", "-m"]
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


def members(mark: str) -> dict[int, int]:
    """Return the processes that have a mark in their environment, each with its parent."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            if f"CHAOS={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return found


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
    command = [sys.executable, str(Path(__file__).parent.with_name("src") / "train.py"), *RUN]
    options = [f"distributed.processes={count}", f"hydra.run.dir={place / name}", "resume=auto"]
    with (place / f"{name}.out").open("a") as shown:
        environment = {**os.environ, "CHAOS": str(place)}
        return subprocess.Popen([*command, *options], env=environment, stdout=shown, stderr=shown)


def newest(folder: Path) -> str:
    """Return the name of the newest checkpoint of a run, an empty string where it has none."""
    return max((path.name for path in folder.glob("checkpoints/iter_*.pt")), default="")


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


def positive(text: str) -> int:
    """Return a number of times; without one there would be nothing to be killed or launched."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=positive, default=50, help="how often a run is killed (50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--chain", action="store_true", help="kill in five iterations of one epoch instead")
    parser.add_argument("--crash-points", action="store_true", help="kill one save at each system call instead")
    parser.add_argument("--sweep", action="store_true", help="kill what belongs to sweeps instead")
    parser.add_argument("--launchers", type=positive, default=1, help="how many launch a sweep at once (1)")
    parser.add_argument("--processes", type=positive, help="kill processes of a run that has so many instead")
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["hookline.commands.train", "hookline.analysis.lasting"])
    with tempfile.TemporaryDirectory(prefix="chaos_") as place:
        if chosen.processes:
            return 0 if several(Path(place), chosen.processes, chosen.kills, chosen.seed) else 1
        if chosen.crash_points:
            return 0 if crash_points(processes, Path(place)) else 1
        if chosen.chain:
            return 0 if chain(processes, Path(place)) else 1
        if chosen.sweep:
            return 0 if sweeps(processes, Path(place), chosen.kills, chosen.seed, chosen.launchers) else 1
        return 0 if random_kills(processes, Path(place), chosen.kills, chosen.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
