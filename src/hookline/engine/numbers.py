"""What counts as a number of the history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# These say where a row of the history stands.
RESERVED = ("epoch", "iterations")


def plain_numbers(numbers: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers as Python's own: tensors and NumPy's scalars open in no checkpoint and are no JSON.

    Raises:
        TypeError: one of them is no single number.
        ValueError: one has the name of a row's place.
    """
    found: dict[str, float] = {}
    for name, value in numbers.items():
        if name in RESERVED:
            raise ValueError(f"{name}: this name is a row's own; give the number another")
        if type(value) not in (int, float):
            try:
                if isinstance(value, str):
                    raise TypeError
                value = float(value)
            except (TypeError, ValueError, RuntimeError) as error:
                raise TypeError(f"{name}={value!r}: must be a number, or an array or tensor of no dimension") from error
        found[name] = value
    return found
