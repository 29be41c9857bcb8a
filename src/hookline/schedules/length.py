"""Lengths with a unit: `5ep`, `500it`, `10%`, next to plain integers.

A plain integer counts in the unit of the curve that it is given to (MMCV's meaning: epochs with `by_epoch`, else
iterations). One with a unit means the same whatever the curve counts in: epochs, iterations, or a share of the run.
It is read when the curve is built and becomes a plain integer when the run's length is known; a part of the curve's
unit is rounded to the nearest whole.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from hookline.config.errors import ParameterError
from hookline.schedules.clock import Clock

LENGTH = "an integer > 0, or a length with a unit such as 5ep, 500it or 10%"

_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ep|it|%)\s*")


@dataclass(frozen=True, slots=True)
class Duration:
    """A length with a unit; `text` is how the user wrote it."""

    text: str
    amount: Fraction
    unit: str

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


Length = int | Duration


def parse_length(name: str, value: object, *, expected: str = LENGTH, zero: bool = False) -> Length:
    """Return the length that parameter `name` was given, or raise `ParameterError`; 0 is valid only if asked."""
    if isinstance(value, Duration):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and (value > 0 or (zero and value == 0)):
        return value
    if isinstance(value, str) and (match := _PATTERN.fullmatch(value)):
        amount, unit = Fraction(match[1]), match[2]
        if (amount > 0 or zero) and not (unit == "%" and amount > 100):
            return Duration(value.strip(), amount, unit)
    raise ParameterError(name, value, expected)


def exact_length(length: Length, clock: Clock, *, by_epoch: bool) -> Fraction:
    """Return the length in epochs or in iterations of the clock's run, before rounding."""
    if isinstance(length, int):
        return Fraction(length)
    if length.unit == "%":
        return length.amount / 100 * (clock.max_epochs if by_epoch else clock.max_iters)
    if length.unit == "ep":
        return length.amount if by_epoch else length.amount * clock.iters_per_epoch
    return length.amount / clock.iters_per_epoch if by_epoch else length.amount


def nearest(length: Fraction) -> int:
    """Return the nearest integer; a half counts as one."""
    return math.floor(length + Fraction(1, 2))


def resolve_length(length: Length, clock: Clock, *, by_epoch: bool) -> int:
    """Return the length in whole epochs or iterations of the clock's run."""
    return length if isinstance(length, int) else nearest(exact_length(length, clock, by_epoch=by_epoch))
