"""How the runner's hooks see a pass over the validation set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from hookline.data.batch import Batch
from hookline.metrics.metric import Labelled

if TYPE_CHECKING:
    from hookline.engine.runner import Runner


class BeforeEach:
    """The validation batches of a runner, with the stage before each.

    Args:
        runner: whose hooks are called.
        seed: of what the model draws, such as dropout that stays on: seeded for each batch after the hooks.
    """

    def __init__(self, runner: Runner, seed: int) -> None:
        self.runner = runner
        self.seed = seed

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches; between two of them is a place to break off."""
        runner = self.runner
        assert runner.val_loader is not None
        for number, batch in enumerate(runner.val_loader.batches(epoch)):
            if runner.can_break_off:
                runner.check_interrupt()
            runner.batch = batch
            runner.call("before_val_iter")
            runner.generators.seed_torch(self.seed + number)
            yield runner.batch


class AfterEach:
    """The stage after each validation batch, as the last of its metrics."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def reset(self) -> None:
        """Nothing is kept."""

    def update(self, outputs: Mapping[str, Tensor], batch: Labelled) -> None:
        """Call the hooks."""
        self.runner.outputs = dict(outputs)
        self.runner.call("after_val_iter")

    def compute(self) -> dict[str, float]:
        """Nothing is measured."""
        return {}
