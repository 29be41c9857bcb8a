"""Seeds and random numbers that are functions of what they are for."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy
from numpy.random.bit_generator import ISeedSequence


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
    return numpy.random.Generator(numpy.random.Philox(_key(seed, epoch, name), counter=counter))


class _Key(ISeedSequence):
    """A key of Philox, which is made in a third of the time in this way: for a mere `key` NumPy draws a seed, too."""

    def __init__(self, word: int) -> None:
        self._words = numpy.array([word, 0], dtype=numpy.uint64)

    def generate_state(self, n_words: int, dtype: Any = numpy.uint32) -> numpy.ndarray:
        """Return the key's two words, which is what Philox asks for."""
        return self._words


@lru_cache(maxsize=64)
def _key(seed: int, epoch: int, name: str) -> Any:  # NumPy's stubs know no other seed sequence than its own
    return _Key(seed_of(seed, "sample", epoch, name))
