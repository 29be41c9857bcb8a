"""Parameter groups as a person reads them, and as a file."""

from __future__ import annotations

import csv
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from hookline.config.files import replacing
from hookline.optim.group_values import group_names


def groups_table(optimizer: Optimizer) -> str:
    """Return a table of the groups: name, tensors and numbers in them, base learning rate and weight decay."""
    rows = [("group", "tensors", "parameters", "lr", "weight decay")]
    for name, group in zip(group_names(optimizer), optimizer.param_groups, strict=True):
        tensors = group["params"]
        numbers = f"{len(tensors):,}", f"{sum(p.numel() for p in tensors):,}"
        rows.append((name, *numbers, _shown(group, "lr"), _shown(group, "weight_decay")))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0])] + [o.rjust(w) for o, w in zip(others, widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells))
    return "\n".join(lines)


def write_groups_csv(path: Path, model: nn.Module, optimizer: Optimizer) -> None:
    """Write parameter, group, lr and weight_decay of every trained parameter, all digits, in the model's order."""
    members = {
        id(p): (name, group)
        for name, group in zip(group_names(optimizer), optimizer.param_groups, strict=True)
        for p in group["params"]
    }
    with replacing(path) as beside, beside.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["parameter", "group", "lr", "weight_decay"])
        for name, parameter in model.named_parameters():
            if id(parameter) in members:
                group_name, group = members[id(parameter)]
                writer.writerow([name, group_name, *(_exact(group, key) for key in ("lr", "weight_decay"))])


def _base(group: dict, key: str) -> float | None:
    value = group.get(f"initial_{key}", group.get(key))
    return None if value is None else float(value)


def _exact(group: dict, key: str) -> str:
    value = _base(group, key)
    return "" if value is None else repr(value)


def _shown(group: dict, key: str) -> str:
    value = _base(group, key)
    return "-" if value is None else f"{value:.6g}"
