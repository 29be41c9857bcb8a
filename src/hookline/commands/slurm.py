"""A sweep as an array of Slurm: submitted, watched until it has left the queue, gone on with by the same command."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.types import HydraContext
from omegaconf import DictConfig

from hookline.commands.sweep import Job, SweepLaunch
from hookline.config.checks import check_number
from hookline.config.errors import ParameterError
from hookline.config.files import write_json
from hookline.config.instantiate import told_at
from hookline.sweep.jobs import read_raw, read_state
from hookline.sweep.pool import Pool
from hookline.sweep.show import Progress
from hookline.sweep.slots import Slot
from hookline.sweep.slurm import ArrayOptions, cancel_waiting, queued, submit, write_array

# Which arrays of a sweep have been submitted, with the names of their jobs.
ARRAYS_FILE = "slurm.json"

# Seconds between two looks at the queue, and how long states may come later than the queue's word, as over NFS.
INTERVAL = 2.0
PATIENCE = 10.0

INTERRUPTED = 130


class SlurmLaunch(SweepLaunch):
    """Runs the jobs of a sweep as an array of Slurm.

    Args:
        options: of the node `launcher`.
        array: of `conf/hydra/launcher/slurm.yaml`, as `ArrayOptions` has them.
        context: Hydra's, which composes configs.
        task: what the command runs.
        config: the sweep's own config.
    """

    def __init__(
        self, options: Mapping[str, Any], array: Mapping[str, Any], context: HydraContext, task: Any, config: DictConfig
    ) -> None:
        with told_at("launcher"):
            if options["job_timeout"] is not None:
                raise ParameterError("job_timeout", options["job_timeout"], "null; write hydra.launcher.array.time")
        with told_at("hydra.launcher.array"):
            check_number("cpus_per_task", array["cpus_per_task"], gt=0, integer=True)
        super().__init__(options, context, task, config)
        self._array = ArrayOptions(**{**array, "at_once": self._wanted()})

    def pool(self) -> Pool | None:  # type: ignore[override]
        return None

    def _array_options(self, threads: int) -> ArrayOptions:
        return self._array

    def _slots(self, jobs: Sequence[Job]) -> tuple[list[Slot], int]:
        return [Slot() for _ in range(self._wanted() or max(1, len(jobs)))], self._array.cpus_per_task

    def _run(self, left: Sequence[Path], slots: Sequence[Slot], watcher: Progress) -> int | None:
        """Submit what is not in the queue yet, and watch until all of it has left the queue."""
        arrays = self._arrays(left[0].parent)
        here = {job.name: job for job in left}
        tasks = queued(list(arrays))
        submitted = {arrays[array][task] for array, numbers in tasks.items() for task in numbers}
        if new := [job for job in left if job.name not in submitted]:
            array = submit(write_array(left[0].parent, new, self._array))
            arrays[array] = [job.name for job in new]
            print(f"submitted array {array}: {len(new)} jobs; scancel {array} ends it", flush=True)
        else:
            print(f"watching what is in the queue: {', '.join(tasks)}", flush=True)
        write_json(left[0].parent / ARRAYS_FILE, {"arrays": arrays})
        try:
            self._watch(arrays, here, watcher)
        except KeyboardInterrupt:
            print(f"no longer watching; the jobs go on: {', '.join(arrays)}", flush=True)
            sys.exit(INTERRUPTED)
        return None

    def _watch(self, arrays: Mapping[str, list[str]], jobs: Mapping[str, Path], watcher: Progress) -> None:
        begun: set[Path] = set()
        left, failed, over = dict(jobs), 0, 0.0
        limit = self.options["max_failures"]
        while left:
            tasks = queued(list(arrays))
            there = {arrays[array][task] for array, numbers in tasks.items() for task in numbers}
            for name, job in list(left.items()):
                state = read_state(job)
                if state["state"] == "running" and job not in begun:
                    begun.add(job)
                    watcher.began(job, Slot())
                gone = name not in there and state["state"] != "running"
                if state["state"] == "done" or (gone and (state["state"] == "failed" or over >= PATIENCE)):
                    del left[name]
                    failed += state["state"] == "failed"
                    watcher.ended(job, state["state"], state.get("reason"))
            if limit is not None and failed >= limit and tasks:
                cancel_waiting(list(tasks))
            watcher.look([job for job in left.values() if job in begun], [], len(left))
            over = over + INTERVAL if not there else 0.0
            if left:
                time.sleep(INTERVAL)

    def _arrays(self, sweep: Path) -> dict[str, list[str]]:
        """Return the arrays that were submitted for this sweep and are in the queue."""
        file = sweep / ARRAYS_FILE
        known: dict[str, list[str]] = read_raw(file)["arrays"] if file.is_file() else {}
        return {array: names for array, names in known.items() if array in queued(list(known))}
