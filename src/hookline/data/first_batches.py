"""The first batches of each epoch of a loader, for a look at whether all works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from hookline.config.checks import check_number
from hookline.data.batch import Batch
from hookline.data.loader import Loader


class FirstBatches:
    """A loader that gives another one's first `count` batches of each epoch, and is like it in all else."""

    def __init__(self, loader: Loader, count: int) -> None:
        check_number("val_batches", count, gt=0, integer=True)
        self.loader = loader
        self.count = count
        self.source = loader.source

    def __len__(self) -> int:
        return min(self.count, len(self.loader))

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the epoch's batches from number `start` on."""
        with closing(self.loader.batches(epoch, start)) as batches:  # type: ignore[type-var]
            for _ in range(start, len(self)):
                yield next(batches)

    def state_dict(self) -> dict[str, Any]:
        """Return the loader's state."""
        return self.loader.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raise `ValueError` where the state is of batches that are not the loader's."""
        self.loader.load_state_dict(state)
