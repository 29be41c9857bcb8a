"""Where Hydra finds the launcher for Slurm. Its scan runs this module twice, so all that it does is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SlurmLauncher(Launcher):
    """Run the jobs of a sweep as an array of Slurm: see `hookline.commands.slurm`.

    Args:
        array: what Slurm is asked for.
        options: those of the node `launcher` in `conf/train.yaml`.
    """

    def __init__(self, array: Mapping[str, Any], **options: Any) -> None:
        self.array, self.options = array, options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hookline.commands.slurm import SlurmLaunch

        self._launch = SlurmLaunch(self.options, self.array, hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self._launch(job_overrides)
