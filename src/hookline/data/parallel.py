"""Work on many samples by several threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from hookline.data.cores import available_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

# Results of each thread that may wait for their turn: so many that a slow item holds nobody up, and no more memory.
AHEAD = 4


def in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None) -> Iterator[Result]:
    """Yield `function(item)` for every item in the order of the items, worked out by threads a little way ahead.

    Args:
        function: is safe to call from several threads.
        items: what to call it with.
        threads: how many; None for one on each core.
    """
    threads = threads or available_cores()
    ahead: deque[Future[Result]] = deque()
    with _one_core_each(), ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > AHEAD * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


@contextmanager
def _one_core_each() -> Iterator[None]:
    """Let torch's operations use one core each: the threads use the others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
