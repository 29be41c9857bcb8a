"""Seeds that are functions of what they are for."""

from __future__ import annotations

from hashlib import blake2b


def seed_of(*purpose: int | str) -> int:
    """Return a seed in [0, 2^62) for random numbers of one purpose, such as (run's seed, "order", epoch).

    Equal purposes give equal seeds, and different ones give seeds that have nothing to do with one another: it is a
    hash (BLAKE2b) of the words.
    """
    words = " ".join(map(str, purpose))
    return int.from_bytes(blake2b(words.encode(), digest_size=8).digest(), "little") >> 2
