"""The states on disk of a run whose processes have a part of each tensor."""

from __future__ import annotations

import logging
from typing import Any

from hookline.checkpoint import Writer
from hookline.checkpoint.sharded import ShardWriter
from hookline.config.errors import told_of
from hookline.engine import Runner
from hookline.hooks.checkpoint import CheckpointHook
from hookline.schedules import Clock

log = logging.getLogger(__name__)


class ShardedCheckpointHook(CheckpointHook):
    """Write the run's state into `checkpoints/iter_<finished iterations>.dcp`, each process its parts of the tensors.

    Such a directory holds what a checkpoint of one process does, and so do `best.pt`, which the first process makes of
    the best one in its writer's thread, and `last.pt`, which it makes of the newest one at the end of the run. All
    processes write at the same moments. A run that fails leaves the last one before: a state needs the parts of all.

    It takes the place of `CheckpointHook`, whose arguments it has, with `distributed=fsdp`.
    """

    first_only = False

    def before_run(self, runner: Runner) -> None:
        self._processes = runner.processes
        self._shards = ShardWriter(runner.processes.first)
        self._writer = Writer(self._shards.write)
        super().before_run(runner)

    def after_run(self, runner: Runner) -> None:
        if runner.status == "failed" or runner.aborted:
            return
        super().after_run(runner)
        if runner.processes.first and (found := self._folder.all()):
            try:
                self._folder.link("last.pt", found[0])
            except Exception as error:  # whatever a full disk or damaged files raise
                log.warning("last.pt could not be made of %s (%s)", found[0], told_of(error).splitlines()[0])

    def _due(self, clock: Clock) -> bool:
        # Clocks on the wall and failed writes are each process's own.
        return self._processes.any(super()._due(clock))[0]

    def _hand_over(self, iterations: int, content: dict[str, Any], best: bool) -> None:
        path = self._folder.path(iterations, sharded=True)

        def then() -> None:
            if self._processes.first:
                (self._folder.folder / "last.pt").unlink(missing_ok=True)  # of an earlier end
                if best:
                    self._folder.link("best.pt", path)
                self._folder.prune(self.max_keep_ckpts)

        self._writer.submit(path, self._shards.content(content), then)
