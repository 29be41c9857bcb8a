"""Words of warning about a learning rate with which a run would learn little, or break."""

from __future__ import annotations

from collections.abc import Mapping

from hookline.schedules import Clock, Curve
from hookline.schedules.moments import moments

# A cosine to 0 is below this share of its peak in the last half percent of a run, a polynomial of power 4 in its last
# tenth, and a step schedule after four steps of 0.1: who trains on purpose is not there for most of a run.
NEXT_TO_ZERO = 1e-4
# What `cyclic` reaches with MMCV's default, on purpose.
FAR_ABOVE = 10.0
MOST = 0.5


def lr_warnings(schedule: Curve, bases: Mapping[str, float], clock: Clock) -> list[str]:
    """Return what is to be said before a run whose learning rate is next to 0, or far above its base, most of the time.

    Args:
        schedule: the learning rate's, ready for the run.
        bases: the base learning rate of each parameter group by its name.
        clock: the start of the run.
    """
    found: dict[str, list[str]] = {}
    for index, (name, base) in enumerate(bases.items()):
        curve = schedule.for_group(index, len(bases))
        if warning := _warning([curve(base, moment) for moment in moments(clock)], base):
            found.setdefault(warning, []).append(name)
    return [
        warning if len(names) == len(bases) else f"{warning} (parameter groups {', '.join(names)})"
        for warning, names in found.items()
    ]


def _warning(values: list[float], base: float) -> str | None:
    peak = max(base, *values)
    low = sum(value < NEXT_TO_ZERO * peak or value == 0 for value in values) / len(values)
    high = sum(value > FAR_ABOVE * base for value in values) / len(values)
    look = "look at it with scripts/plot_lr.py"
    if peak == 0:
        return "lr_schedule: the learning rate is 0 for the whole run, which does not train then; see optimizer.lr"
    if low > MOST:
        return (
            f"lr_schedule: the learning rate is 0 or below {NEXT_TO_ZERO:g} of its peak for {low:.0%} of the run, which"
            " hardly trains then. Does a plain number count iterations (by_epoch=false) where epochs are meant? Lengths"
            f" take units, such as 10ep or 30%; {look}"
        )
    if high > MOST:
        return (
            f"lr_schedule: the learning rate is more than {FAR_ABOVE:g} times its base for {high:.0%} of the run;"
            f" {look}"
        )
    return None
