"""What a curve is, and the parts that several curves share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from copy import copy
from typing import ClassVar, NamedTuple, Self

from hookline.config.checks import check_bool, check_number
from hookline.config.errors import ParameterError
from hookline.schedules.clock import Clock
from hookline.schedules.length import Duration, Length, resolve_length


class Floor(NamedTuple):
    """A floor that was given as a value, for a curve whose base value is multiplied by `factor`."""

    value: float
    factor: float = 1.0


class Curve(ABC):
    """A pure function of the base value and the clock: `curve(base_value, clock) -> value`.

    A curve holds its parameters and nothing that changes, so the value at an iteration is the same however training
    got there. It does not know what it drives: the same class serves learning rate, momentum and weight decay.

    `for_run` makes it ready for a run of known length; only then is it called.

    To add one, subclass it, check the parameters in `__init__` (raising `ParameterError`), write the formula in
    `__call__`, and add one YAML file that names the class. What follows from the run's length goes into `_fit`.

    Args:
        by_epoch: progress `t` is the epoch, of `T = max_epochs`; else the iteration, of `T = max_iters`.

    Attributes:
        lengths: the attributes that hold lengths (see `hookline.schedules.length`), single or in a list, each with
            the least whole number that it may be rounded to.
    """

    lengths: ClassVar[dict[str, int]] = {}

    def __init__(self, *, by_epoch: bool = True) -> None:
        check_bool("by_epoch", by_epoch)
        self.by_epoch = by_epoch

    @abstractmethod
    def __call__(self, base_value: float, clock: Clock) -> float:
        """Return the value for the iteration at which the clock stands."""

    def for_run(self, clock: Clock) -> Curve:
        """Return the curve as it is in a run of this clock's length, or raise `ParameterError` if it does not fit."""
        curve = copy(self)
        for name, least in self.lengths.items():
            given = getattr(self, name)
            if isinstance(given, list):
                resolved: object = [self._whole(name, length, least, clock) for length in given]
            else:
                resolved = self._whole(name, given, least, clock)
            setattr(curve, name, resolved)
        curve._fit(self, clock)
        return curve

    def _whole(self, name: str, given: Length, least: int, clock: Clock) -> int:
        """Return a length in whole epochs or iterations; a share of the run may be rounded up to the least."""
        whole = resolve_length(given, clock, by_epoch=self.by_epoch)
        if whole < least and isinstance(given, Duration) and given.unit != "%":
            raise ParameterError(name, given, "at least half an epoch of this run, or by_epoch=false given with it")
        return max(least, whole)

    def _fit(self, given: Self, clock: Clock) -> None:  # noqa: B027  (nothing to do for most)
        """Set on this copy what follows from the run's length, or raise `ParameterError` with what was `given`."""

    def for_group(self, index: int, count: int) -> Curve:
        """Return the curve of parameter group `index` of `count`: this one itself where it is the same for every group.

        Asked of a curve that is ready for its run.
        """
        return self

    def floors(self) -> dict[str, Floor]:
        """Return the floors that are given as values, by the parameter's name."""
        return {}

    def _total(self, clock: Clock) -> int:
        """Return the run's length `T` in the unit of the curve."""
        return clock.max_epochs if self.by_epoch else clock.max_iters

    def _unit(self) -> str:
        return "epochs" if self.by_epoch else "iterations"


class Decay(Curve):
    """A curve that comes down to a floor `m`, given as it is or as a ratio of the base value.

    A subclass writes it `m = base_value * self.floor_ratio + self.floor_value`, one of the two being 0.

    Args:
        min_value: the floor `m`.
        min_value_ratio: the floor as a ratio of the base value, in [0, 1]; exactly one of the two.
        by_epoch: see `Curve`.
    """

    def __init__(
        self, *, min_value: float | None = None, min_value_ratio: float | None = None, by_epoch: bool = True
    ) -> None:
        super().__init__(by_epoch=by_epoch)
        if (min_value is None) == (min_value_ratio is None):
            given = "both are given" if min_value is not None else "neither is given"
            raise ParameterError("min_value", min_value, f"given, or else min_value_ratio, and not both; {given}")
        if min_value is not None:
            check_number("min_value", min_value, ge=0)
        else:
            check_number("min_value_ratio", min_value_ratio, ge=0, le=1)
        self.floor_value = min_value or 0.0
        self.floor_ratio = min_value_ratio or 0.0

    def floors(self) -> dict[str, Floor]:
        return {"min_value": Floor(self.floor_value)}


def anneal_cos(start: float, end: float, factor: float) -> float:
    """Return `end + (start - end) (1 + cos(pi factor)) / 2`: `start` at factor 0, `end` at factor 1."""
    return end + 0.5 * (start - end) * (math.cos(math.pi * factor) + 1.0)


def anneal_linear(start: float, end: float, factor: float) -> float:
    """Return `start + (end - start) factor`: `start` at factor 0, `end` at factor 1."""
    return start + (end - start) * factor


ANNEALS = {"cos": anneal_cos, "linear": anneal_linear}


def check_growth(gamma: float, power: int) -> None:
    """Raise `ParameterError` where `gamma^power`, reached within the run, is too large for a number."""
    if gamma > 1 and power * math.log10(gamma) > 300:
        raise ParameterError("gamma", gamma, f"smaller: gamma^{power}, reached within the run, is not a finite number")
