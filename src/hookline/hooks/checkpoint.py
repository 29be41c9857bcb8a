"""The run's states on disk."""

from __future__ import annotations

import logging
import math
import shutil
from time import monotonic, perf_counter
from typing import Any

import torch

from hookline.checkpoint import CheckpointFolder, Writer
from hookline.config.checks import check_bool, check_number
from hookline.config.errors import ConfigError, told_of
from hookline.engine import Hook, Priority, Runner
from hookline.engine.monitor import losses_finite
from hookline.loggers.console import log_file_lengths
from hookline.schedules import Clock

log = logging.getLogger(__name__)

# Seconds after a failed write until the next try, with the state of that time.
TRY_AGAIN = 5.0


class CheckpointHook(Hook):
    """Write the run's state into `checkpoints/iter_<finished iterations>.pt`.

    `last.pt` and `best.pt` there are links to the newest and to the best. A checkpoint holds the run's state
    (`Runner.state_dict`), its config as YAML text, what the model gets, the lengths of its log files, and
    versions. It opens with `torch.load(path, weights_only=True)`. The loop waits for a copy of the state in memory; a
    thread writes it, one at a time. A write that fails is tried again, then reported, and training goes on; the next
    one is tried soon after.

    A run that ends early, by a signal or an error, leaves a checkpoint of where it was if an update was not under way.
    Once a training loss was not finite, no more are written.

    Args:
        interval: epochs between checkpoints; 0 for none at an interval.
        by_epoch: `interval` counts epochs, else iterations.
        every_seconds: write one too when the last one is so long ago.
        max_keep_ckpts: how many of the newest are kept; -1 for all.
        save_optimizer: include the optimizer's state. Without it the file is smaller, and no run can go on from it.
        save_last: write one at the end of the run, whatever the interval.
        save_best: write one whenever the newest row of the history is the best.
    """

    priority = Priority.LOWEST
    first_only = True

    def __init__(
        self,
        interval: int = 1,
        by_epoch: bool = True,
        every_seconds: float | None = None,
        max_keep_ckpts: int = 1,
        save_optimizer: bool = True,
        save_last: bool = True,
        save_best: bool = True,
    ) -> None:
        check_number("interval", interval, ge=0, integer=True)
        if every_seconds is not None:
            check_number("every_seconds", every_seconds, gt=0)
        if max_keep_ckpts != -1:
            check_number("max_keep_ckpts", max_keep_ckpts, gt=0, integer=True)
        for name, value in (
            ("by_epoch", by_epoch),
            ("save_optimizer", save_optimizer),
            ("save_last", save_last),
            ("save_best", save_best),
        ):
            check_bool(name, value)
        self.interval = interval
        self.by_epoch = by_epoch
        self.every_seconds = every_seconds
        self.max_keep_ckpts = max_keep_ckpts
        self.save_optimizer = save_optimizer
        self.save_last = save_last
        self.save_best = save_best
        self._writer = Writer()
        self._retry_at: float | None = None

    def before_run(self, runner: Runner) -> None:
        self._folder = CheckpointFolder(runner.work_dir / "checkpoints")
        self._folder.sweep()
        self._saved_at = perf_counter()
        # Of which moment the newest checkpoint is: finished iterations, and finished phases of the workflow.
        self._saved: tuple[int, int] | None = None
        self._new_best = False
        runner.newest_state = self._newest_state
        self._check_space(runner)

    def after_record(self, runner: Runner) -> None:
        is_best = runner.monitor in runner.recorded and runner.best.get("iterations") == runner.clock.iter
        self._new_best = self._new_best or (self.save_best and is_best)

    def between_updates(self, runner: Runner) -> None:
        if self._due(runner.clock) and self._is_sound(runner):
            self._submit(runner, runner.state_dict())
        if self._retry_at is not None or not self._writer.busy:
            self._report()

    def after_run(self, runner: Runner) -> None:
        early = runner.status in ("interrupted", "failed")
        if (early or self.save_last) and not runner.aborted and runner.clock.iter > 0 and self._is_sound(runner):
            state = runner.resumable_state()
            if state is not None and (self._new_best or self._moment(state) != self._saved):
                self._submit(runner, state)
        self._writer.join()
        self._report()

    def _newest_state(self) -> dict[str, Any] | None:
        self._writer.join()
        found = self._folder.newest() if self.save_optimizer else None
        return found[1] if found else None

    @staticmethod
    def _is_sound(runner: Runner) -> bool:
        # A state without finite numbers must not take a good one's place.
        measured = losses_finite(runner.history[-1]) if runner.history else True
        return measured and math.isfinite(runner.sums.total("train/loss")[0])

    def _due(self, clock: Clock) -> bool:
        if self._new_best or (self._retry_at is not None and monotonic() >= self._retry_at):
            return True
        if self.every_seconds is not None and perf_counter() - self._saved_at >= self.every_seconds:
            return True
        if not self.interval:
            return False
        if self.by_epoch:
            return clock.position <= 0 and clock.epoch % self.interval == 0
        return clock.position > 0 and clock.iter % self.interval == 0

    def _submit(self, runner: Runner, state: dict[str, Any]) -> None:
        self._saved_at, self._saved = perf_counter(), self._moment(state)
        self._retry_at, self._new_best = None, False
        iterations = self._saved[0]
        parts = dict(state["parts"])
        if not self.save_optimizer:
            del parts["optimizer"]
        content = {
            **state,
            "parts": parts,
            "config": runner.job.config,
            "inputs": runner.job.inputs,
            "logs": log_file_lengths(runner.work_dir),
            "torch": str(torch.__version__),
        }
        self._hand_over(iterations, content, self.save_best and runner.best.get("iterations") == iterations)

    def _hand_over(self, iterations: int, content: dict[str, Any], best: bool) -> None:
        """Let the writer write a state, which may be the best."""
        path = self._folder.path(iterations)

        def then() -> None:
            self._folder.link("last.pt", path)
            if best:
                self._folder.link("best.pt", path)
            self._folder.prune(self.max_keep_ckpts)

        self._writer.submit(path, content, then)

    @staticmethod
    def _moment(state: dict[str, Any]) -> tuple[int, int]:
        clock = state["parts"]["clock"]
        return clock["iter"], clock["phase"]

    def _report(self) -> None:
        error = self._writer.take_error()
        if error is not None:
            free = shutil.disk_usage(self._folder.folder.parent).free
            log.warning(
                "the checkpoint could not be written, training goes on (%s; %.1f MB free in %s)",
                told_of(error).splitlines()[0],
                free / 1e6,
                self._folder.folder,
            )
            log.debug("checkpoint", exc_info=error)
            self._retry_at = monotonic() + TRY_AGAIN

    def _check_space(self, runner: Runner) -> None:
        """Raise `ConfigError` where the disk has no room for a checkpoint; warn where it has none for all of them."""
        weights = sum(t.numel() * t.element_size() for t in runner.model.state_dict().values())
        one = weights * (3 if self.save_optimizer else 1)  # Adam keeps two numbers for each weight
        runner.work_dir.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(runner.work_dir).free
        if free < one:
            raise ConfigError(
                f"checkpoint: a checkpoint takes up to {one / 1e6:.1f} MB, and the disk of {runner.work_dir} has"
                f" {free / 1e6:.1f} MB free; make room, choose another folder (hydra.run.dir=...), or checkpoint=none"
            )
        kept = max(1, self.max_keep_ckpts) + 2  # the best, and the one that is being written
        if free < kept * one:
            log.warning(
                "the disk has %.1f MB free, and up to %d checkpoints of up to %.1f MB will lie there",
                free / 1e6,
                kept,
                one / 1e6,
            )


class ShardedCheckpointHook(CheckpointHook):
    """Write the run's state into `checkpoints/iter_<finished iterations>.dcp`, each process its parts of the tensors.

    Such a directory holds what a checkpoint of one process does, and so do `best.pt`, which the first process makes of
    the best one in its writer's thread, and `last.pt`, which it makes of the newest one at the end of the run. All
    processes write at the same moments. A run that fails leaves the last one before: a state needs the parts of all.

    It takes the place of `CheckpointHook`, whose arguments it has, with `distributed=fsdp`.
    """

    first_only = False
    others_wait = True  # for the first one's disk

    def before_run(self, runner: Runner) -> None:
        from hookline.checkpoint.sharded import ShardWriter  # which needs much of torch

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
