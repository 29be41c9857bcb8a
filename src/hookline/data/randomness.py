"""Seeds and random numbers that are functions of what they are for."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import numpy


def seed_of(*purpose: int | str) -> int:
    """Return a seed in [0, 2^62) for random numbers of one purpose, such as (run's seed, "order", epoch).

    Equal purposes give equal seeds, and different ones give seeds that have nothing to do with one another: it is a
    hash (BLAKE2b) of the words.
    """
    words = " ".join(map(str, purpose))
    return int.from_bytes(blake2b(words.encode(errors="surrogateescape"), digest_size=8).digest(), "little") >> 2


def sample_generator(seed: int, epoch: int, name: str, sample: int, repeat: int = 0) -> numpy.random.Generator:
    """Return the random numbers that transform `name` takes for a sample in an epoch.

    The generator is a counter-based one, Philox (Salmon et al., 2011, https://doi.org/10.1145/2063384.2063405): its key
    is (seed, epoch, name) and its counter the sample, so any thread can draw any sample's numbers.

    Args:
        seed: the run's.
        epoch: counted from 0.
        name: the transform's name in the config.
        sample: its index in the source.
        repeat: how many times the epoch had the sample before.
    """
    # The lower half of the counter is the generator's own, for 2^130 numbers of each sample.
    counter = numpy.array([0, 0, repeat, sample], dtype=numpy.uint64)
    return numpy.random.Generator(numpy.random.Philox(key=_key(seed, epoch, name), counter=counter))


@lru_cache(maxsize=64)
def _key(seed: int, epoch: int, name: str) -> numpy.ndarray:
    return numpy.array([seed_of(seed, "sample", epoch, name), 0], dtype=numpy.uint64)
