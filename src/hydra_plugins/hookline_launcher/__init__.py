"""Where Hydra finds the launcher. Its scan runs this module twice, so all that it does is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class HooklineLauncher(Launcher):
    """Run the jobs of a sweep in processes of their own: see `hookline.commands.sweep`.

    Args:
        options: those of the node `launcher` in `conf/train.yaml`.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hookline.commands.search import SearchLaunch

        self._launch = SearchLaunch(self.options, hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self._launch(job_overrides)

    def search(self, search: Any) -> None:
        """Run the jobs that a search asks for, each as soon as a slot is free."""
        self._launch.search(search)
