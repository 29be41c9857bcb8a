"""A search that dies: its jobs are numbers, and each of its processes kills itself at a given write of the journal.

    python tests/sweep/searching.py PLACE KILL_AT ...

For each number a process is forked that goes on with the search, and gets a SIGKILL in the midst of that write of its
own; the last one comes to its end.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution

from hookline.sweep.jobs import read_state
from hookline.sweep.store import write_state
from hookline.sweep.study import JOURNAL, Study

SPACE = {"lr": FloatDistribution(0.001, 1, log=True), "warmup": CategoricalDistribution(["linear", "exp"])}
TRIALS = 8


def sampler(number: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=100 + number, n_startup_trials=3)


def search(place: Path) -> None:
    """Go on with the search to its end, a trial after the other; a job is a folder that counts how often it is done."""
    with Study(place, SPACE, "max", TRIALS, sampler, optuna.pruners.NopPruner()) as study:
        running = study.running()
        while True:
            trial = running.pop(0) if running else study.ask()
            if trial is None:
                return
            point = dict(one.split("=") for one in study.overrides(trial))
            job = study.job_of(trial) or place / f"trial_{trial.number}"
            job.mkdir(exist_ok=True)
            study.bind(trial, job)
            if read_state(job)["state"] != "done":
                value = -abs(math.log(float(point["lr"]) / 0.1)) + (point["warmup"] == "exp")
                write_state(job, "done", value=str(value))
            study.tell(trial, float(read_state(job)["value"]))


def dying_search(place: Path, kill_at: int) -> None:
    left, sync = kill_at, os.fsync

    def count(descriptor: int) -> None:
        nonlocal left
        sync(descriptor)
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).name == JOURNAL:
            left -= 1
            if left == 0:
                os.truncate(place / JOURNAL, (place / JOURNAL).stat().st_size - 7)  # the line is torn
                os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = count
    search(place)


def main(place: Path, kills: list[int]) -> None:
    killed = 0
    for kill_at in [*kills, 0]:
        if (pid := os.fork()) == 0:
            status = 1
            try:
                dying_search(place, kill_at)
                status = 0
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status in (0, -signal.SIGKILL)
        killed += status != 0
    with Study(place, SPACE, "max", TRIALS, sampler, optuna.pruners.NopPruner()) as study:
        trials = [[t.number, t.state.name, t.params, t.value, t.user_attrs] for t in study.all()]
    print(json.dumps({"killed": killed, "trials": trials}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(number) for number in sys.argv[2:]])
