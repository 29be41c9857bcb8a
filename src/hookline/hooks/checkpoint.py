"""The newest state of a run and its best one, on disk."""

from __future__ import annotations

from hookline.checkpoint import save
from hookline.config.checks import check_bool
from hookline.engine import Hook, Priority, Runner


class CheckpointHook(Hook):
    """After each epoch write `checkpoints/last.pt`, and `best.pt` if the epoch's row is the best so far.

    A checkpoint holds the run's state (`Runner.state_dict()`), its config as YAML text and the torch version. It opens
    with `torch.load(path, weights_only=True)`.

    Args:
        last: write `last.pt`.
        best: write `best.pt`.
    """

    priority = Priority.LOWEST

    def __init__(self, last: bool = True, best: bool = True) -> None:
        check_bool("last", last)
        check_bool("best", best)
        self.last = last
        self.best = best

    def between_updates(self, runner: Runner) -> None:
        if runner.clock.position > 0:  # the epoch has not ended
            return
        wanted = ["last.pt"] if self.last else []
        if self.best and runner.best.get("iterations") == runner.clock.iter:
            wanted.append("best.pt")
        for name in wanted:
            save(runner.work_dir / "checkpoints" / name, runner.state_dict(), config=runner.job.config)
