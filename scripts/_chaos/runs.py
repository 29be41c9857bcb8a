"""Runs that are killed, and how what lasts of them is compared with that of one that nobody interrupts."""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
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
TRAIN = Path(__file__).parent.parent.with_name("src") / "train.py"
Processes = multiprocessing.context.ForkServerContext


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


def compare(what: str, expected: dict[str, str], got: dict[str, str]) -> bool:
    """Print what differs, and say whether nothing does."""
    different = [name for name in {**expected, **got} if expected.get(name) != got.get(name)]
    print(f"{what}: {'differs in ' + ', '.join(different) if different else 'the same'}", flush=True)
    return not different


def members(mark: str) -> dict[int, int]:
    """Return the processes that have a mark in their environment, each with its parent."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            if f"CHAOS={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return found
