"""What a loader is: the batches of an epoch, in an order that depends on nothing but the seed and the epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from typing import Any, Protocol

import torch
from torch import Tensor

from hookline.config.checks import check_bool, check_number
from hookline.config.errors import ConfigError, ParameterError, first_line, told_of
from hookline.data.batch import Batch, on_device, shape_of, share
from hookline.data.mix import Mix
from hookline.data.randomness import seed_of
from hookline.data.sampler import Order, Sampler
from hookline.data.source import Source, described
from hookline.data.transforms import Transform


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


class SourceLoader(ABC):
    """A loader over a source: a subclass reads the samples, everything that is done with a whole batch is here.

    Args:
        source: what to load.
        batch_size: samples in a batch of all processes together; the last one of an epoch may be smaller.
        transforms: batched transforms by name, applied in the order given.
        mix: mixes the samples of a batch with one another, after the transforms.
        shuffle: visit the samples in a new random order each epoch.
        sampler: which samples an epoch visits, in the place of `shuffle`.
        drop_last: leave out a last batch that is smaller than the others.
        seed: of shuffling, augmentation and mixing.
        device: where the batches lie.
        rank: the number of this process, whose share of each batch is contiguous.
        processes: how many share the batches. One whose share of a small batch is empty gets its last sample with
            weight 0.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        transforms: Mapping[str, Transform] | None = None,
        mix: Mix | None = None,
        shuffle: bool = False,
        sampler: Sampler | None = None,
        drop_last: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        check_number("batch_size", batch_size, gt=0, integer=True)
        check_bool("drop_last", drop_last)
        source.check()
        self.source = source
        self.sampler = Sampler(source.targets, shuffle=shuffle) if sampler is None else sampler
        if drop_last and batch_size > len(self.sampler):
            expected = f"at most {len(self.sampler)}, the images, with drop_last=true"
            raise ParameterError("batch_size", batch_size, expected)
        self.batch_size = batch_size
        self.transforms = dict(transforms or {})
        self.mix = mix
        self.drop_last = drop_last
        self.seed = seed
        self.device = torch.device(device)
        if self.sampler.shuffle and batch_size < processes:
            raise ParameterError("batch_size", batch_size, f"at least {processes}, a sample for each process")
        self.rank = rank
        self.processes = processes

    def __len__(self) -> int:
        count = len(self.sampler)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield this process's share of the epoch's batches from number `start` on."""
        order = self.sampler.order(self.seed, epoch)
        draws = {
            name: on_device(epoch_draws(order, len(self.source), t.draws, self.seed, epoch, name), self.device)
            for name, t in self.transforms.items()
            if t.draws
        }
        nothing = torch.empty(0, 0, device=self.device)
        with closing(self._read(order, epoch, start)) as read:
            for number, batch in enumerate(read, start):
                for name, transform in self.transforms.items():
                    uniform = self._part(draws[name], number) if transform.draws else nothing
                    batch.images = transformed(name, transform, batch.images, uniform)
                if self.mix is not None:
                    batch = self.mix(batch, seed=self.seed, epoch=epoch, number=number)
                if self.processes > 1:
                    self._mark(batch, number)
                yield batch

    @abstractmethod
    def _read(self, order: Order, epoch: int, start: int) -> Generator[Batch]:
        """Yield the batches from number `start` on, on the device, with uint8 images that nobody else holds."""

    def _part(self, whole: Tensor, number: int) -> Tensor:
        """Return this process's share of batch `number` from what there is for each sample of an epoch."""
        part = whole[number * self.batch_size : (number + 1) * self.batch_size]
        if self.processes == 1:
            return part
        own = share(len(part), self.rank, self.processes)
        return part[own] if own.stop > own.start else part[-1:]

    def _mark(self, batch: Batch, number: int) -> None:
        """Note in this process's share of batch `number` what it is a share of."""
        batch.whole = min(self.batch_size, len(self.sampler) - number * self.batch_size)
        own = share(batch.whole, self.rank, self.processes)
        if own.stop == own.start:
            batch.weights = torch.zeros(len(batch), device=batch.targets.device)

    def state_dict(self) -> dict[str, Any]:
        """Return what the order and the content of the batches depend on; the position is the run's clock."""
        return {
            "source": self.source.fingerprint(),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "sampler": self.sampler.fingerprint(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raise `ValueError` where `state` is of batches that are not these."""
        own = self.state_dict()
        for name, value in own.items():
            if state.get(name) != value:
                raise ValueError(f"{name} was {state.get(name)} and is {value} here")


def transformed(name: str, transform: Transform, images: Tensor, uniform: Tensor) -> Tensor:
    """Return the images of a batch after a batched transform.

    Raises:
        ConfigError: it fails, or returns something else than as many images.
    """
    try:
        found = transform(images, uniform)
        if not isinstance(found, Tensor) or found.ndim != 4 or len(found) != len(images) or not found.numel():
            raise TypeError(f"it must return {len(images)} images [B, C, H, W], not {described(found)}")
    except torch.OutOfMemoryError:
        raise
    except (Exception, SystemExit) as error:  # whatever a transform does with images that it is not made for
        told = f"{name} ({type(transform).__name__}) cannot take the data's {shape_of(images.shape[1:])} images"
        raise ConfigError(f"data: the transform {told}: {first_line(told_of(error))}") from error
    return found


def epoch_draws(order: Order, count: int, draws: int, seed: int, epoch: int, name: str) -> Tensor:
    """Return the uniform numbers in [0, 1) that transform `name` takes in an epoch: `[n, draws]`, row by place.

    Args:
        order: the samples of the epoch.
        count: the samples of the source.
        draws: numbers that the transform takes for each.
        seed: the run's.
        epoch: counted from 0.
        name: the transform's name in the config.
    """
    generator = torch.Generator().manual_seed(seed_of(seed, "draws", epoch, name))
    found = torch.rand(count, draws, generator=generator).index_select(0, order.samples)
    again = order.repeats > 0
    found[again] = torch.rand(int(again.sum()), draws, generator=generator)
    return found
