"""Kills of a run of one process."""

from __future__ import annotations

import os
import random
import time
from functools import partial
from pathlib import Path

from _chaos.runs import Processes, check_ended, compare, digests, kill, start, wait_for, whole_run

ITERS_PER_EPOCH = 6


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


def being_written(folder: Path) -> bool:
    """Say whether a checkpoint is being written."""
    checkpoints = folder / "checkpoints"
    return checkpoints.is_dir() and any(name.startswith(".") for name in os.listdir(checkpoints))
