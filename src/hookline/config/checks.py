"""Checks of single parameters, so that every class words its errors alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hookline.config.errors import ParameterError


def check_number(
    name: str,
    value: object,
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    integer: bool = False,
) -> None:
    """Raise `ParameterError` unless `value` is a finite number (an integer if asked) within the bounds."""
    limits = ((">", gt), (">=", ge), ("<", lt), ("<=", le))
    bounds = [f"{sign} {bound:g}" for sign, bound in limits if bound is not None]
    expected = ("an integer " if integer else "a number ") + " and ".join(bounds)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ParameterError(name, value, f"{expected.strip()}, and fit into 64 bits")
    ok = isinstance(value, int if integer else (int, float)) and not isinstance(value, bool)
    if (
        not ok
        or not math.isfinite(value)  # type: ignore[arg-type]
        or (gt is not None and not value > gt)  # type: ignore[operator]
        or (ge is not None and not value >= ge)  # type: ignore[operator]
        or (lt is not None and not value < lt)  # type: ignore[operator]
        or (le is not None and not value <= le)  # type: ignore[operator]
    ):
        raise ParameterError(name, value, expected.strip())


def check_bool(name: str, value: object) -> None:
    """Raise `ParameterError` unless `value` is true or false."""
    if not isinstance(value, bool):
        raise ParameterError(name, value, "true or false")


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raise `ParameterError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ParameterError(name, value, "one of " + ", ".join("null" if c is None else str(c) for c in choices))
