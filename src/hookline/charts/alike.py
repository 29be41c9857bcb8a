"""Curves that are the same, told as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def alike(*properties: Mapping[str, Any]) -> list[list[str]]:
    """Return the names together whose every property is the same, in the order of their first.

    Args:
        properties: numbers, or one curve of them, by name; a name may be missing.
    """
    found: dict[tuple[bytes | None, ...], list[str]] = {}
    for name in dict.fromkeys(name for values in properties for name in values):
        same = tuple(np.asarray(values[name], float).tobytes() if name in values else None for values in properties)
        found.setdefault(same, []).append(name)
    return list(found.values())


def label(names: Sequence[str]) -> str:
    """Return what a legend says of curves that are drawn as one."""
    first = f"group {names[0]}" if names[0].isdigit() else names[0]
    return first if len(names) == 1 else f"{first} (+ {len(names) - 1} alike)"
