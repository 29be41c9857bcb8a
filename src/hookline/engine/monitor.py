"""Which way a monitored number is better."""

from __future__ import annotations

import math
import re

from hookline.config.checks import check_choice
from hookline.config.errors import ParameterError

MODES = ("min", "max")

# Words in the names of numbers that say which way is better.
LOWER_IS_BETTER = {"loss", "error", "err", "ece", "nll", "mae", "mse"}
HIGHER_IS_BETTER = {
    *("top", "acc", "accuracy", "f", "precision", "recall"),
    *("auc", "auroc", "ap", "map", "kappa", "mcc"),
}

# What a diverged run reports where smaller numbers are better: finite, as some searches take no infinity.
WORST_LOSS = 1e9


def mode_of(monitor: str, mode: str | None = None) -> str:
    """Return `min` or `max`: the mode given, or what the monitored number's name says.

    Raises:
        ParameterError: neither says it.
    """
    if mode is not None:
        check_choice("mode", mode, MODES)
        return mode
    words = set(re.split(r"[\W_]+|(?<=[a-z])(?=\d)", monitor.rpartition("/")[2].lower()))
    if words & LOWER_IS_BETTER:
        return "min"
    if words & HIGHER_IS_BETTER:
        return "max"
    raise ParameterError("mode", None, f"min or max: the name {monitor} does not say which way is better")


def is_better(value: float, old: float | None, mode: str, min_delta: float = 0.0) -> bool:
    """Say whether `value` beats `old` by more than `min_delta`; a number that is not finite never does."""
    if not math.isfinite(value):
        return False
    if old is None:
        return True
    return value > old + min_delta if mode == "max" else value < old - min_delta


def worst(mode: str) -> float:
    """Return the score of a run that diverged: 0 where more is better, else a very large number."""
    return 0.0 if mode == "max" else WORST_LOSS
