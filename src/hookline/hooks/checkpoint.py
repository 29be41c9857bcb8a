"""The newest state of a run and its best one, on disk."""

from __future__ import annotations

import torch

from hookline.config.files import replacing
from hookline.engine import Runner
from hookline.engine.hook import Hook, Priority


class CheckpointHook(Hook):
    """After each epoch write `checkpoints/last.pt`, and `best.pt` if the epoch was the best so far.

    A checkpoint holds `Runner.state_dict()`, the run's config as YAML text (`config`) and the torch version. It opens
    with `torch.load(path, weights_only=True)`. `epoch` and `iter` in it count finished ones.

    Args:
        last: write `last.pt`.
        best: write `best.pt`.
    """

    priority = Priority.LOW

    def __init__(self, last: bool = True, best: bool = True) -> None:
        self.last = last
        self.best = best

    def after_train_epoch(self, runner: Runner) -> None:
        wanted = ["last.pt"] if self.last else []
        if self.best and runner.best.get("epoch") == runner.epoch + 1:
            wanted.append("best.pt")
        if not wanted:
            return
        state = {
            **runner.state_dict(),
            "epoch": runner.epoch + 1,
            "metrics": dict(runner.metrics.latest),
            "config": runner.config,
            "torch": str(torch.__version__),
        }
        for name in wanted:
            with replacing(runner.work_dir / "checkpoints" / name) as path:
                torch.save(state, path)
