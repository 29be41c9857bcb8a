"""Which way a monitored number is better."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hookline.config.direction import MODES, mode_of

__all__ = ["MODES", "is_better", "losses_finite", "mode_of", "worst"]

# What a diverged run reports where smaller numbers are better: finite, as some searches take no infinity.
WORST_LOSS = 1e9


def is_better(value: float, old: float | None, mode: str, min_delta: float = 0.0) -> bool:
    """Say whether `value` beats `old` by more than `min_delta`; a number that is not finite never does."""
    if not math.isfinite(value):
        return False
    if old is None:
        return True
    return value > old + min_delta if mode == "max" else value < old - min_delta


def losses_finite(row: Mapping[str, float]) -> bool:
    """Say whether every loss in a row of the history is a number: a model without one is not the best at anything."""
    return all(math.isfinite(value) for name, value in row.items() if name.endswith("/loss"))


def worst(mode: str) -> float:
    """Return the score of a run that diverged: 0 where more is better, else a very large number."""
    return 0.0 if mode == "max" else WORST_LOSS
