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
import multiprocessing
import multiprocessing.synchronize
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from _chaos.one_process import chain, random_kills
from _chaos.saves import crash_points
from _chaos.several import several
from _chaos.sweeps import sweeps


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
