"""Training loops that take turns in one process, a few hundred iterations each.

What slows a machine down for a second then hits all of them alike, which a run of each in turn does not achieve.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch


class TurnPass:
    """One pass over batches that stands still after each turn until the next one is given.

    Whoever loops over it, be it three lines or a framework, is timed alike: in each turn from asking for batch `skip`
    to asking for the one `timed` batches later. What happens before the pass and after it is not in that time.

    Args:
        batches: as many as `len` of this says.
        turns: how many.
        timed: iterations to time in each turn.
        skip: iterations before those, which warm the caches.
        clock: returns seconds.

    Attributes:
        seconds: the time of an iteration, for each turn.
    """

    def __init__(
        self,
        batches: Iterable[Any],
        *,
        turns: int,
        timed: int,
        skip: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.batches = batches
        self.turns = turns
        self.timed = timed
        self.skip = skip
        self.clock = clock
        self.seconds: list[float] = []
        self._go, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None

    def __len__(self) -> int:
        return self.turns * (self.skip + self.timed) + 1

    def __iter__(self) -> Iterator[Any]:
        supply = iter(self.batches)
        for _ in range(self.turns):
            self._stand_still()
            yield from islice(supply, self.skip)
            start = self.clock()
            yield from islice(supply, self.timed)
            self.seconds.append((self.clock() - start) / self.timed)
        self._stand_still()
        yield next(supply)

    def start(self, loop: Callable[[TurnPass], None]) -> None:
        """Run `loop` over this pass in a thread of its own, up to where it asks for the first batch."""

        def run() -> None:
            try:
                torch.set_num_threads(threads)  # holds for a thread
                loop(self)
            except BaseException as error:
                self._error = error
            finally:
                self._waits.release()

        threads = torch.get_num_threads()
        threading.Thread(target=run, daemon=True).start()
        self._wait()

    def turn(self) -> None:
        """Give one turn, and wait for its end; the one after the last turn ends the loop."""
        self._go.release()
        self._wait()

    def _stand_still(self) -> None:
        self._waits.release()
        self._go.acquire()

    def _wait(self) -> None:
        self._waits.acquire()
        if self._error is not None:
            raise self._error


def take_turns(
    loops: Mapping[str, Callable[[TurnPass], None]], make_pass: Callable[[], TurnPass]
) -> dict[str, list[float]]:
    """Return the seconds per iteration of every loop in every round, a first round not counted.

    A round gives each of them one turn, in turn forwards and backwards. Compare numbers of the same round.
    """
    passes = {name: make_pass() for name in loops}
    for name, batches in passes.items():
        batches.start(loops[name])
    turns = next(iter(passes.values())).turns
    for number in range(turns + 1):
        for batches in list(passes.values())[:: 1 if number % 2 else -1]:
            batches.turn()
    return {name: batches.seconds[1:] for name, batches in passes.items()}
