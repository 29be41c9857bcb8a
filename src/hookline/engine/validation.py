"""How the runner's hooks see a pass over the validation set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from hookline.data.batch import Batch
from hookline.engine.processes import Processes
from hookline.metrics import Metric
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
        for number, batch in enumerate(runner.waiting_for(runner.val_loader.batches(epoch))):
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
        self.runner.batch, self.runner.outputs = batch, dict(outputs)
        self.runner.call("after_val_iter")

    def compute(self) -> dict[str, float]:
        """Nothing is measured."""
        return {}


class Gathered:
    """Metrics that see the whole of each batch, in every process, as if there were one process.

    So each sample counts once, and a metric needs to know nothing of processes.

    Args:
        processes: which share the batches.
        metrics: what is measured.
        images: gather the images, too, for those that look at them; otherwise the whole batch has none.
    """

    def __init__(self, processes: Processes, metrics: Sequence[Metric], *, images: bool) -> None:
        self.processes = processes
        self.metrics = metrics
        self.images = images

    def reset(self) -> None:
        """Forget all samples."""
        for metric in self.metrics:
            metric.reset()

    def update(self, outputs: Mapping[str, Tensor], batch: Labelled) -> None:
        """Take in the shares of all processes, in the order of the samples."""
        share, processes = cast(Batch, batch), self.processes
        if share.whole is None:
            raise RuntimeError("the loader must say of how many samples each batch is a share (Batch.whole)")
        samples = share.whole
        own = processes.part(samples)
        (weighted,) = processes.any(share.weights is not None and own.stop > own.start)
        weights = torch.ones_like(share.targets, dtype=torch.float32) if share.weights is None else share.weights
        images = share.images if self.images else share.images[:, :0]
        whole = Batch(
            processes.whole(images, samples),
            processes.whole(share.targets, samples),
            processes.whole(share.indices, samples),
            processes.whole(weights, samples) if weighted else None,
        )
        found = {name: processes.whole(value, samples) for name, value in outputs.items()}
        for metric in self.metrics:
            metric.update(found, whole)

    def compute(self) -> dict[str, float]:
        """Return the metrics' numbers."""
        return {name: value for metric in self.metrics for name, value in metric.compute().items()}
