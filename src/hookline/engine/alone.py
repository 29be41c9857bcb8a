"""How an update is computed by one process, and the seams at which several share it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from hookline.data.batch import Batch
from hookline.engine.forward import Forward
from hookline.engine.processes import Processes


class Alone:
    """One process computes the whole update. Subclasses say what is different where several do.

    Attributes:
        processes: which of how many processes this one is.
        factor: what a loss is multiplied by, since the reduction of the gradients divides by it.
        sharded: whether each process has a part of each parameter only.
        in_step: whether a forward pass of training needs all processes, so that none can make one alone.
    """

    processes = Processes()
    factor = 1
    sharded = False
    in_step = False

    def prepare(self, model: nn.Module) -> nn.Module:
        """Return the model, which lies on its device, as it has to be before an optimizer is made of its parameters."""
        return model

    def check(self, optimizer: torch.optim.Optimizer, clip: tuple[str, float] | None, norm_type: float) -> None:
        """Raise `ConfigError` where an optimizer, or a way to clip gradients, cannot be used."""

    def training(self, forward: Forward) -> Forward:
        """Return the forward pass of training, for what is frozen now."""
        return forward

    def samples(self, batch: Batch) -> int:
        """Return the size of the batch of which this one is the process's share."""
        return len(batch)

    def as_small(self, batch: Batch, samples: int) -> Batch:
        """Return this process's share of a batch as small as the last of an epoch, out of that of a whole one."""
        return batch.first(samples)

    def parts(self, batch: Batch, count: int) -> list[tuple[Batch, float]]:
        """Return this process's micro-batches, at most so many, each with its share of the whole batch's samples.

        The share is 0 for one that only fills up.
        """
        return [(part, len(part) / len(batch)) for part in batch.split(count)]

    def total_weight(self, loss: Any, batch: Batch) -> float | Tensor:
        """Return what a loss divides its sum over the samples of the whole batch by."""
        return total_weight(loss, batch.targets)

    def reducing(self, last: bool) -> AbstractContextManager[Any]:
        """Return the context of a micro-batch's forward and backward pass; the `last` one's reduces the gradients."""
        return nullcontext()

    def means(self, sums: Mapping[str, Tensor], shares: Mapping[str, float], batch: Batch) -> dict[str, Tensor]:
        """Return the means over the whole batch.

        Args:
            sums: sums over this process's micro-batches of scalars, each times the micro-batch's share.
            shares: the sums of those shares.
            batch: this process's share of the whole.
        """
        return {name: value / shares[name] for name, value in sums.items()}

    def agree(self, model: nn.Module) -> None:
        """Make the buffers, such as a batch norm's statistics, the same everywhere."""

    def check_gradients(self, model: nn.Module) -> None:
        """Raise `ParameterError` where a parameter that is trained has got no gradient, and this may not be."""


def total_weight(loss: Any, targets: Tensor) -> Tensor | float:
    """Return what a loss divides its sum over the samples of these targets by."""
    if hasattr(loss, "total_weight"):
        return loss.total_weight(targets)
    if getattr(loss, "reduction", "mean") == "sum":
        return 1.0
    weight = getattr(loss, "weight", None)
    if isinstance(loss, nn.CrossEntropyLoss) and targets.ndim == 1:
        counted = targets != loss.ignore_index
        if weight is None:
            return counted.sum()
        # To pick these targets by the mask a GPU would have to be asked how many they are.
        return (weight[targets.where(counted, 0)] * counted).sum()
    return float(len(targets))
