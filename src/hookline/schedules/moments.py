"""Where a curve is looked at to judge it as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from hookline.schedules.clock import Clock

# All iterations of a short run. A jump lasts longer than the step between the moments of a long one.
MOMENTS = 10_000


def moments(clock: Clock, count: int = MOMENTS) -> Iterator[Clock]:
    """Yield the clock's run at evenly spaced iterations, at most `count` of them, the first and last included.

    It is one clock, moved in place; nothing has been recorded at any of the moments.
    """
    moving = clock.at(0)
    last = clock.max_iters - 1
    steps = min(last, count - 1)
    for step in range(steps + 1):
        moving.iter = step * last // steps if steps else 0
        moving.epoch = moving.iter // clock.iters_per_epoch
        yield moving
