"""How a schedule's config keys name the quantity that it drives.

A curve does not know what it drives and calls it `value`; the config says `lr`, `momentum` or `weight_decay`. So
`min_lr` in a learning-rate schedule and `min_momentum` in a momentum schedule are both the curve's `min_value`.
"""

from __future__ import annotations

# The parameters of curves that are values of the quantity, and how a config spells each.
PARAMETERS = {
    "min_value": "min_{quantity}",
    "min_value_ratio": "min_{quantity}_ratio",
    "max_value": "max_{quantity}",
    "base_value": "base_{quantity}",
}

# Momentum is warmed up from above, as in MMCV: see `WarmUp.inverse`.
WARMED_FROM_ABOVE = frozenset({"momentum"})


def spellings(quantity: str) -> dict[str, str]:
    """Return the parameters' names by the config's keys, for the schedule of `quantity`."""
    return {spelling.format(quantity=quantity): name for name, spelling in PARAMETERS.items()}


def tag_of(field: str) -> str:
    """Return how the tags of a parameter-group field begin: with `learning_rate` for `lr`, else with the field."""
    return "learning_rate" if field == "lr" else field
