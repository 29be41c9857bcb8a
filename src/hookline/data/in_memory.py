"""Batches out of tensors: an index, then the batched transforms. No workers, no Python for each sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from hookline.config.checks import check_bool, check_number
from hookline.config.errors import ConfigError, ParameterError
from hookline.data.batch import Batch
from hookline.data.loader import epoch_draws, epoch_order
from hookline.data.mix import Mix
from hookline.data.source import InMemorySource, Source
from hookline.data.transforms import Transform


class InMemoryLoader:
    """A loader (see `hookline.data.loader`) over a source that is held as tensors on one device.

    Args:
        source: what to load; it is read at once.
        batch_size: samples in a batch of all processes together; the last one of an epoch may be smaller.
        transforms: batched transforms by name, applied in the order given.
        mix: mixes the samples of a batch with one another, after the transforms.
        shuffle: visit the samples in a new random order each epoch.
        drop_last: leave out a last batch that is smaller than the others.
        seed: of shuffling, augmentation and mixing.
        device: where the tensors and the batches lie.
        rank: the number of this process, whose share of each batch is every `processes`-th sample.
        processes: how many share the batches.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        transforms: Mapping[str, Transform] | None = None,
        mix: Mix | None = None,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        check_number("batch_size", batch_size, gt=0, integer=True)
        check_bool("drop_last", drop_last)
        if drop_last and batch_size > len(source):
            raise ParameterError("batch_size", batch_size, f"at most {len(source)}, the images, with drop_last=true")
        self.source = source
        self.batch_size = batch_size
        self.transforms = dict(transforms or {})
        self.mix = mix
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.device = torch.device(device)
        self.rank = rank
        self.processes = processes
        images, targets = tensors_of(source)
        self._images, self._targets = images.to(self.device), targets.to(self.device)

    def __len__(self) -> int:
        count = len(self._targets)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield this process's share of the epoch's batches from number `start` on."""
        count = len(self._targets)
        order = epoch_order(count, self.seed, epoch) if self.shuffle else torch.arange(count)
        order = order.to(self.device)
        draws = {
            name: epoch_draws(count, t.draws, self.seed, epoch, name).to(self.device)
            for name, t in self.transforms.items()
            if t.draws
        }
        nothing = torch.empty(0, 0, device=self.device)
        for number in range(start, len(self)):
            index = order[number * self.batch_size : (number + 1) * self.batch_size]
            if self.processes > 1:
                index = index[self.rank :: self.processes]
            images = self._images.index_select(0, index)
            for name, transform in self.transforms.items():
                images = transform(images, draws[name].index_select(0, index) if transform.draws else nothing)
            batch = Batch(images, self._targets.index_select(0, index), index)
            yield batch if self.mix is None else self.mix(batch, seed=self.seed, epoch=epoch, number=number)

    def state_dict(self) -> dict[str, Any]:
        """Return what the order and the content of the batches depend on; the position is the run's clock."""
        return {"source": self.source.fingerprint(), "batch_size": self.batch_size, "seed": self.seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raise `ValueError` where `state` is of batches that are not these."""
        own = self.state_dict()
        for name, value in own.items():
            if state.get(name) != value:
                raise ValueError(f"{name} was {state.get(name)} and is {value} here")


def tensors_of(source: Source) -> tuple[Tensor, Tensor]:
    """Return a checked source's images, uint8 `[N, C, H, W]`, and labels, int64 `[N]`.

    Raises:
        ConfigError: labels and images do not fit, or the images differ in size.
    """
    source.check()
    if isinstance(source, InMemorySource):
        return source.images, source.targets
    images = [source.read(index) for index in range(len(source))]
    sizes = {tuple(image.shape) for image in images}
    if len(sizes) > 1:
        shown = ", ".join("x".join(map(str, size)) for size in sorted(sizes)[:3])
        raise ConfigError(f"data: the images of {type(source).__name__} differ in size ({shown}, ...)")
    return torch.stack(images), source.targets
