"""Reading parameter groups: names, and momentum wherever an optimizer keeps it."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer


def group_names(optimizer: Optimizer) -> list[str]:
    """Return the parameter groups' names; a group without one is named by its number."""
    return [str(group.get("name", index)) for index, group in enumerate(optimizer.param_groups)]


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
