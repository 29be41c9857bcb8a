"""Where Hydra finds the sweeper of searches. Its scan runs this module twice, so all that it does is elsewhere."""

from __future__ import annotations

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SearchSweeper(Sweeper):
    """Ask Optuna for points and tell it what they have reached: see `hookline.commands.search`.

    Args:
        options: those of `conf/hydra/sweeper/optuna.yaml`.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._job: dict[str, Any] = {"hydra_context": hydra_context, "task_function": task_function, "config": config}

    def sweep(self, arguments: list[str]) -> None:
        from hookline.commands.search import Search, search_in_batches

        search = Search(self.options, self._job["hydra_context"], self._job["config"], arguments)
        launcher: Any = Plugins.instance().instantiate_launcher(**self._job)
        if hasattr(launcher, "search"):
            launcher.search(search)
        else:
            search_in_batches(search, lambda jobs, first: launcher.launch(jobs, initial_job_idx=first))
