"""Loops that take turns: one runs at a time, each as often and as far as the others, and errors come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import count

import pytest
from scripts.benchmarks._turns import TurnPass, take_turns


def loop(log: list[tuple[str, int]], name: str) -> Callable[[Iterable[int]], None]:
    """Return a loop that notes its name and every batch it gets."""

    def run(batches: Iterable[int]) -> None:
        log.extend((name, batch) for batch in batches)

    return run


def test_turns_alternate_and_every_loop_gets_its_whole_pass():
    log: list[tuple[str, int]] = []
    clock = count()
    make_pass = partial(TurnPass, range(100), turns=3, timed=4, skip=2, clock=lambda: next(clock))
    seconds = take_turns({"a": loop(log, "a"), "b": loop(log, "b")}, make_pass)

    def turn(name: str, number: int) -> list[tuple[str, int]]:
        return [(name, batch) for batch in range(6 * number, 6 * number + 6)]

    expected = [*turn("b", 0), *turn("a", 0), *turn("a", 1), *turn("b", 1), *turn("b", 2), *turn("a", 2)]
    assert log == [*expected, ("a", 18), ("b", 18)]
    assert len(make_pass()) == 19
    # The clock is read twice in a turn; the first turn does not count.
    assert seconds == {"a": [0.25, 0.25], "b": [0.25, 0.25]}


def test_an_error_in_a_loop_ends_all():
    def fail(batches: Iterable[int]) -> None:
        for batch in batches:
            if batch == 7:
                raise ValueError("seven")

    make_pass = partial(TurnPass, range(100), turns=3, timed=4, skip=0)
    with pytest.raises(ValueError, match="seven"):
        take_turns({"good": loop([], "good"), "bad": fail}, make_pass)
