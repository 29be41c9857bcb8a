"""Which way a monitored number is better, by its name."""

from __future__ import annotations

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
