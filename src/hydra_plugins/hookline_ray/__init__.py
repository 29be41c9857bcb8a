"""Where Hydra finds the launcher for Ray. Its scan runs this module twice, so all that it does is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class RayLauncher(Launcher):
    """Run the jobs of a sweep on a Ray cluster: see `hookline.commands.ray`.

    Args:
        address: of the cluster; None for one of this machine alone.
        cpus_per_job: cores of a job.
        gpus_per_job: GPUs of a job.
        options: those of the node `launcher` in `conf/train.yaml`.
    """

    def __init__(self, address: str | None, cpus_per_job: int, gpus_per_job: float | None, **options: Any) -> None:
        self.cluster = {"address": address, "cpus_per_job": cpus_per_job, "gpus_per_job": gpus_per_job}
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hookline.commands.ray import RayLaunch

        self._launch = RayLaunch(self.options, self.cluster, hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self._launch(job_overrides)

    def search(self, search: Any) -> None:
        """Run the jobs that a search asks for, each as soon as there is room."""
        self._launch.search(search)
