"""A run that dies after its checkpoint and goes on from it: what every sink has to come through."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.toy import toy_runner

from hookline.engine import Runner
from hookline.hooks import Hook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.log import LogHook
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.job import Job
from hookline.loggers.sink import Sink
from hookline.origin import Origin

ORIGIN = Origin(
    command="python src/train.py optimizer.lr=0.1",
    packages={"torch": "2.14.1"},
    git_commit="0123abc+changes",
    git_diff="-lr: 0.2\n+lr: 0.1\n",
)
CONFIG = "optimizer:\n  lr: 0.1\n  betas: [0.9, 0.99]\nseed: 0\n"


class Dies(Hook):
    """Keeps the state after so many updates, and fails some updates later."""

    priority = 100

    def __init__(self, saved: int, fails: int) -> None:
        self.saved, self.fails = saved, fails
        self.kept: dict = {}

    def between_updates(self, runner: Runner) -> None:
        if runner.clock.iter == self.saved and not self.kept:
            self.kept = copy.deepcopy(runner.state_dict())
        if runner.clock.iter == self.fails:
            raise RuntimeError("the run dies")


def run_of(sinks: Mapping[str, Sink], directory: Path, *hooks: Hook) -> Runner:
    """Return a runner of ten updates, two epochs, that samples each."""
    job = Job(directory, CONFIG, ["optimizer.lr=0.1"], ORIGIN)
    return toy_runner(TrainMetricsHook(), EvaluationHook(), *hooks, LogHook(sinks, interval=1), job=job)


def broken_off(make: Callable[[], Sink], directory: Path, saved: int = 3, fails: int = 7) -> None:
    """Run, die, and go on from the checkpoint in another runner with another sink."""
    dies = Dies(saved, fails)
    with pytest.raises(RuntimeError, match="the run dies"):
        run_of({"sink": make()}, directory, dies).run()
    run_of({"sink": make()}, directory, Dies(-1, -1)).run(dies.kept)


def timeless(points: Mapping[str, list[tuple[int, float]]]) -> dict[str, list[tuple[int, float]]]:
    """Return the points of the numbers that two equal runs share."""
    return {n: sorted(p) for n, p in points.items() if not n.startswith(("time/", "throughput/", "memory/", "system"))}
