"""From one setting per parameter to named groups of equal settings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

# More rules than this in one group's name say less than the first ones.
LONGEST = 3


class Constructor(Protocol):
    """What `param_groups=` builds."""

    def __call__(self, model: nn.Module, lr: float | None, weight_decay: float | None) -> list[dict[str, Any]]: ...


@dataclass(frozen=True)
class Setting:
    """How one parameter is trained.

    Attributes:
        parameter: the tensor.
        lr: its learning rate, None for the optimizer's own.
        weight_decay: its weight decay, None for the optimizer's own.
        label: what made its setting differ, empty if nothing did.
    """

    parameter: nn.Parameter
    lr: float | None
    weight_decay: float | None
    label: str = ""


def group_settings(settings: Iterable[Setting], base_decay: float | None) -> list[dict[str, Any]]:
    """Return the groups: parameters of equal settings together, in the order in which the model first has them.

    A group is named by the labels of its parameters, `base` where there are none, with `_no_decay` where it is free of
    a weight decay that others have. Names are unique, and fit into a TensorBoard tag and a file name.
    """
    groups: dict[tuple[float | None, float | None], list[Setting]] = {}
    for setting in settings:
        groups.setdefault((setting.lr, setting.weight_decay), []).append(setting)
    named: dict[str, dict[str, Any]] = {}
    for (lr, weight_decay), members in groups.items():
        labels = list(dict.fromkeys(m.label for m in members if m.label))
        name = "_".join([*labels[:LONGEST], "etc"] if len(labels) > LONGEST else labels) or "base"
        if base_decay and weight_decay == 0:
            name = "no_decay" if name == "base" else f"{name}_no_decay"
        name = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("_.") or "group"
        group: dict[str, Any] = {"params": [m.parameter for m in members], "name": _unique(name, named)}
        if lr is not None:
            group["lr"] = lr
        if weight_decay is not None:
            group["weight_decay"] = weight_decay
        named[group["name"]] = group
    return list(named.values())


def _unique(name: str, taken: Iterable[str]) -> str:
    number, candidate = 2, name
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate
