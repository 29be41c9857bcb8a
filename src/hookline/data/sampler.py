"""Which samples an epoch visits, in which order."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

from hookline.config.checks import check_number
from hookline.config.errors import ParameterError
from hookline.data.randomness import seed_of

# An epoch's order is made as a whole: more samples than these, or as many in a row, would take minutes and gigabytes.
MOST_SAMPLES, MOST_REPEATS = 10**8, 1000


@dataclass(frozen=True)
class Order:
    """The samples of an epoch.

    Attributes:
        samples: their indices in the source, in the order in which they come, int64 `[n]`.
        repeats: how many times the epoch had the sample before, int64 `[n]`: what is drawn for a sample depends on it.
    """

    samples: Tensor
    repeats: Tensor


class Sampler:
    """The samples of every epoch, as a function of (seed, epoch).

    Without weights, epochs are cut one after another from a sequence of random permutations, so that each sample comes
    equally often, whatever the length of an epoch. With weights a sample is expected in proportion to its weight; the
    draw is stratified, so that no sample and no class is off its expected number by more than one.

    Args:
        targets: the label of every sample of the source, int64 `[N]`.
        shuffle: visit the samples in a new random order each epoch, else each of them once and straight on.
        pool: the samples to choose from, in rising order; None for all.
        weights: of every sample of the source, `[N]`; None for equal ones.
        repeats: how many times a sample comes in a row, transformed differently each time (repeated augmentation:
            Hoffer et al., 2020, https://arxiv.org/abs/1901.09335); an epoch's length stays as it is.
        samples_per_epoch: the length of an epoch; None for that of the pool.
    """

    def __init__(
        self,
        targets: Tensor,
        *,
        shuffle: bool = False,
        pool: Tensor | None = None,
        weights: Tensor | None = None,
        repeats: int = 1,
        samples_per_epoch: int | None = None,
    ) -> None:
        check_number("repeats", repeats, gt=0, le=MOST_REPEATS, integer=True)
        if samples_per_epoch is not None:
            check_number("samples_per_epoch", samples_per_epoch, gt=0, le=MOST_SAMPLES, integer=True)
        self.targets = targets
        self.shuffle = shuffle
        self.weights = weights
        self.repeats = repeats
        self.count = len(targets)
        self.pool = torch.arange(self.count) if pool is None else pool
        if weights is not None:
            self.pool = self.pool[weights[self.pool] > 0]
            if not len(self.pool):
                raise ParameterError("weights", 0, "above 0 for some sample")
        self.length = len(self.pool) if samples_per_epoch is None else samples_per_epoch

    def __len__(self) -> int:
        """Return the number of samples in an epoch."""
        return self.length

    def order(self, seed: int, epoch: int) -> Order:
        """Return the samples of an epoch."""
        if not self.shuffle:
            return Order(self.pool, torch.zeros_like(self.pool))
        draw = self._permuted if self.weights is None else self._weighted
        samples = draw(seed, epoch)
        return Order(samples, occurrences(samples))

    def substitute(self, seed: int, epoch: int, sample: int, attempt: int) -> int:
        """Return the sample that an epoch has in the place of one that cannot be read."""
        return int(self.pool[seed_of(seed, "substitute", epoch, sample, attempt) % len(self.pool)])

    def fingerprint(self) -> str | None:
        """Return a short text that changes with what epochs are made of, None where it is each sample once."""
        if len(self.pool) == self.count == self.length and self.weights is None and self.repeats == 1:
            return None
        chosen = [self.pool] if self.weights is None else [self.pool, self.weights]
        digest = 0
        for tensor in chosen:
            digest = zlib.crc32(tensor.numpy().tobytes(), digest)
        return f"{self.length} of {len(self.pool)} samples, {self.repeats} in a row ({digest:08x})"

    def _permuted(self, seed: int, epoch: int) -> Tensor:
        one_pass = len(self.pool) * self.repeats
        first, last = epoch * self.length, (epoch + 1) * self.length
        passes = range(first // one_pass, -(-last // one_pass))
        orders = [self.pool[permutation(len(self.pool), seed, number)] for number in passes]
        start = first - passes.start * one_pass
        return torch.cat(orders).repeat_interleave(self.repeats)[start : start + self.length]

    def _weighted(self, seed: int, epoch: int) -> Tensor:
        assert self.weights is not None
        generator = torch.Generator().manual_seed(seed_of(seed, "weighted", epoch))
        number = -(-self.length // self.repeats)
        # Side by side by class, so that the evenly spaced marks hit each class as often as it should be hit.
        mixed = self.pool[torch.randperm(len(self.pool), generator=generator)]
        mixed = mixed[self.targets[mixed].argsort(stable=True)]
        ends = self.weights[mixed].double().cumsum(0)
        marks = (torch.arange(number) + torch.rand((), dtype=torch.float64, generator=generator)) / number * ends[-1]
        drawn = mixed[torch.searchsorted(ends, marks, right=True).clamp_max(len(mixed) - 1)]
        drawn = drawn[torch.randperm(number, generator=generator)]
        return drawn.repeat_interleave(self.repeats)[: self.length]


def permutation(count: int, seed: int, number: int) -> Tensor:
    """Return permutation `number` of `count` samples, int64 `[count]`: without a sampler, the order of that epoch."""
    # Drawn on the CPU, so that it is the same on every device.
    generator = torch.Generator().manual_seed(seed_of(seed, "order", number))
    return torch.randperm(count, generator=generator)


def occurrences(samples: Tensor) -> Tensor:
    """Return for each place how many times its sample stands at an earlier one, int64 `[n]`."""
    places = samples.argsort(stable=True)
    ranks = torch.arange(len(samples))
    grouped = samples[places]
    starts = torch.cat([torch.ones(1, dtype=torch.bool), grouped[1:] != grouped[:-1]])[: len(samples)]
    first = torch.where(starts, ranks, 0).cummax(0).values if len(samples) else ranks
    return torch.empty_like(ranks).scatter_(0, places, ranks - first)


def stratified(targets: Tensor, fraction: float, seed: int = 0) -> Tensor:
    """Return a fraction of the samples, of each class nearly the same and at least one, in rising order.

    A smaller fraction's samples are among a larger one's.

    Args:
        targets: the label of every sample, int64 `[N]`.
        fraction: in (0, 1].
        seed: of the choice.
    """
    check_number("subset", fraction, gt=0, le=1)
    generator = torch.Generator().manual_seed(seed_of(seed, "subset"))
    mixed = torch.randperm(len(targets), generator=generator)
    mixed = mixed[targets[mixed].argsort(stable=True)]
    chosen = [part[: max(1, round(fraction * len(part)))] for part in mixed.split(torch.bincount(targets).tolist())]
    return torch.cat(chosen).sort().values
