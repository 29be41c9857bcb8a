"""Jobs of a sweep as tasks of a Ray cluster.

Ray only places them: each task starts the job as a process of its own, as every launcher does, waits for it and hands
its exit status back. A task is never repeated by Ray; whether a job goes on is for its state to say.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from hookline.sweep.pool import OUTPUT, Ended
from hookline.sweep.watch import GRACE

# Seconds between two looks at what has ended.
INTERVAL = 0.2


def run_job(directory: str, path: str) -> int:
    """Run a job in a process of its own, on whatever node this is called, and return its exit status.

    When this process dies, the job ends with it; when it is interrupted, it asks the job to end.
    """
    alive, mine = os.pipe()  # its write end is here alone, and so closed when this process is gone
    with (Path(directory) / OUTPUT).open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "hookline.commands.sweep_job", directory, str(alive)],
            pass_fds=[alive],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    os.close(alive)
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # how Ray cancels
                process.terminate()
    finally:
        os.close(mine)


class RayPool:
    """Starts jobs on a cluster, and tells when they end: what `Pool` is for this machine.

    Args:
        cpus, gpus: what a job needs of its node.

    Attributes:
        ready: whether jobs can be started.
    """

    ready = True

    def __init__(self, cpus: int, gpus: float) -> None:
        import ray

        # Its nodes need not be able to import this package for the task, which has all that it needs in it.
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        self._task = ray.remote(run_job).options(num_cpus=cpus, num_gpus=gpus, max_retries=0)
        self._tasks: dict[int, Any] = {}
        self._count = 0

    def start(self, directory: Path, locks: Sequence[int], environment: Mapping[str, str]) -> int:
        """Start a job and return a number for it. Ray chooses the node, and its GPU; there is no lock of a slot."""
        source = str(Path(str(files("hookline"))).parent)
        paths = [source, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        self._count += 1
        self._tasks[self._count] = self._task.remote(str(directory), os.pathsep.join(dict.fromkeys(paths)))
        return self._count

    def wait(self, seconds: float, wake: int | None = None) -> list[Ended]:
        """Return the jobs that have ended, after at most so many seconds."""
        import ray

        until = time.monotonic() + seconds
        while True:
            refs = {ref: number for number, ref in self._tasks.items()}
            done = ray.wait(list(refs), num_returns=len(refs), timeout=0)[0] if refs else []
            if done:
                return [self._ended(refs[ref]) for ref in done]
            rest = until - time.monotonic()
            if rest <= 0 or (wake is not None and select.select([wake], [], [], min(INTERVAL, rest))[0]):
                return []
            if wake is None:
                time.sleep(min(INTERVAL, rest))

    def _ended(self, number: int) -> Ended:
        import ray

        try:
            return Ended(number, int(ray.get(self._tasks.pop(number))))
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):
            return Ended(number, -signal.SIGKILL, lost=True)
        except ray.exceptions.RayError:  # it was cancelled, or took too much memory
            return Ended(number, -signal.SIGKILL)

    def ask_to_end(self, number: int) -> None:
        """Ask a job to save its state and to end."""
        self._cancel(number, force=False)

    def kill(self, number: int) -> None:
        """End a job at once; its process ends `GRACE` seconds after its task at the latest."""
        self._cancel(number, force=True)

    def _cancel(self, number: int, force: bool) -> None:
        import ray

        with contextlib.suppress(KeyError, ray.exceptions.RayError, ValueError):
            ray.cancel(self._tasks[number], force=force)

    def alive(self) -> bool:
        """Say whether the cluster is there."""
        import ray

        return bool(ray.is_initialized())

    def close(self) -> None:
        """Leave the cluster; what still runs for this launch ends."""
        import ray

        time.sleep(0 if not self._tasks else GRACE)
        ray.shutdown()
