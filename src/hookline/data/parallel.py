"""Work on many samples by several threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from hookline.config.cores import available_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

# Results of each thread that may wait for their turn: so many that a slow item holds nobody up, and no more memory.
AHEAD = 4


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None, ahead: int | None = None
) -> Iterator[Result]:
    """Yield `function(item)` for every item in the order of the items, worked out by threads a little way ahead.

    In them torch's operations use one core each; what is done with the results may use more.

    Args:
        function: is safe to call from several threads.
        items: what to call it with.
        threads: how many; None for one on each core.
        ahead: how many results may wait for their turn; None for a few of each thread.
    """
    threads = threads or available_cores()
    most = AHEAD * threads if ahead is None else ahead
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
