"""What a loader is: the batches of an epoch, in an order that depends on nothing but the seed and the epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from hookline.data.batch import Batch
from hookline.data.randomness import seed_of
from hookline.data.source import Source


class Loader(Protocol):
    """The batches of one process's share of a source.

    The order of an epoch's samples is a function of (seed, epoch), and what is drawn for a sample one of (seed, epoch,
    sample, the transform's name). So neither the number of workers, the batch size, a resume in mid-epoch, nor a
    transform put before another changes what happens to a sample.

    Attributes:
        source: whose samples they are.
    """

    source: Source

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the epoch's batches from number `start` on."""
        ...

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what the batches depend on, such as the seed; the position in the epoch is the run's clock."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raise `ValueError` where the state is of batches that are not these."""
        ...


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """Return the order in which an epoch visits `count` samples: a random permutation, int64 `[count]`."""
    # Drawn on the CPU, so that it is the same on every device.
    generator = torch.Generator().manual_seed(seed_of(seed, "order", epoch))
    return torch.randperm(count, generator=generator)


def epoch_draws(count: int, draws: int, seed: int, epoch: int, name: str) -> Tensor:
    """Return the uniform numbers in [0, 1) that transform `name` takes in an epoch: `[count, draws]`, row by sample."""
    generator = torch.Generator().manual_seed(seed_of(seed, "draws", epoch, name))
    return torch.rand(count, draws, generator=generator)
