"""Reading parameter groups: names, and momentum wherever an optimizer keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer


def group_names(optimizer: Optimizer) -> list[str]:
    """Return the parameter groups' names; a group without one is named by its number."""
    return [str(group.get("name", index)) for index, group in enumerate(optimizer.param_groups)]


def base_values(optimizer: Optimizer, quantities: Iterable[str]) -> dict[str, dict[str, float]]:
    """Return by field (`lr`, `momentum`, `weight_decay`, ...) its value in every group that has it, by group name."""
    groups = list(zip(group_names(optimizer), optimizer.param_groups, strict=True))
    found = {}
    for field in quantities:
        values = {name: momentum_of(group) if field == "momentum" else group.get(field) for name, group in groups}
        found[field] = {name: float(value) for name, value in values.items() if value is not None}
    return found


def base_lr(optimizer: Optimizer) -> float:
    """Return the learning rate of the group `base`, or the largest one where no group has that name.

    With a layer-wise decay the largest is the head's, which is the optimizer's own.
    """
    rates = {
        name: float(group["lr"]) for name, group in zip(group_names(optimizer), optimizer.param_groups, strict=True)
    }
    return rates.get("base", max(rates.values()))


def momentum_field(group: dict[str, Any]) -> tuple[str, int | None] | None:
    """Return where a group keeps its momentum: `momentum` (SGD, RMSprop), the first of `betas` (Adam), or None."""
    if "momentum" in group:
        return "momentum", None
    return ("betas", 0) if "betas" in group else None


def momentum_of(group: dict[str, Any]) -> float | None:
    """Return a group's momentum, None if its optimizer has none."""
    field = momentum_field(group)
    if field is None:
        return None
    key, index = field
    return float(group[key] if index is None else group[key][index])
