"""What a curve is, and the parts that several curves share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from hookline.checks import check_bool, check_number
from hookline.errors import ParameterError
from hookline.schedules.clock import Clock


class Curve(ABC):
    """A pure function of the base value and the clock: `curve(base_value, clock) -> value`.

    A curve holds its parameters and nothing that changes, so the value at an iteration is the same however training
    got there. It does not know what it drives: the same class serves learning rate, momentum and weight decay.

    To add one, subclass it, check the parameters in `__init__` (raising `ParameterError`), write the formula in
    `__call__`, and add one YAML file that names the class.

    Args:
        by_epoch: progress `t` is the epoch, of `T = max_epochs`; else the iteration, of `T = max_iters`.
    """

    def __init__(self, *, by_epoch: bool = True) -> None:
        check_bool("by_epoch", by_epoch)
        self.by_epoch = by_epoch

    @abstractmethod
    def __call__(self, base_value: float, clock: Clock) -> float:
        """Return the value for the iteration at which the clock stands."""

    def for_run(self, clock: Clock) -> Curve:
        """Return the curve as it is in a run of this clock's length, or raise `ParameterError` if it does not fit."""
        return self

    def for_group(self, index: int, count: int) -> Curve:
        """Return the curve of parameter group `index` of `count`; most curves are the same for every group."""
        return self


class Floor:
    """The value at which a decay ends: given as it is (`min_value`), or as a ratio of the base (`min_value_ratio`)."""

    def __init__(self, min_value: float | None, min_value_ratio: float | None) -> None:
        if (min_value is None) == (min_value_ratio is None):
            given = "both are given" if min_value is not None else "neither is given"
            raise ParameterError("min_value", min_value, f"given, or else min_value_ratio, and not both; {given}")
        if min_value is not None:
            check_number("min_value", min_value, ge=0)
        else:
            check_number("min_value_ratio", min_value_ratio, ge=0, le=1)
        self.value = min_value
        self.ratio = min_value_ratio

    def __call__(self, base_value: float) -> float:
        return base_value * self.ratio if self.value is None else self.value  # type: ignore[operator]


def anneal_cos(start: float, end: float, factor: float) -> float:
    """Return `end + (start - end) (1 + cos(pi factor)) / 2`: `start` at factor 0, `end` at factor 1."""
    return end + 0.5 * (start - end) * (math.cos(math.pi * factor) + 1.0)
