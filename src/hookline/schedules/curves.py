"""The basic curves: fixed, step, exp, poly, inv, linear, cosine.

In every formula `b` is the base value, `t` the progress (the epoch, or with `by_epoch=False` the iteration, counted
from 0) and `T` the run's length in the same unit. Reference: the LR updater hooks of MMCV 1.7.2 (`mmcv/runner/hooks/
lr_updater.py`, OpenMMLab).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import cos, pi
from typing import ClassVar, Self

from hookline.config.checks import check_number
from hookline.config.errors import ParameterError
from hookline.schedules.clock import Clock
from hookline.schedules.curve import Curve, Decay, Floor, check_growth
from hookline.schedules.length import LENGTH, Length, exact_length, parse_length


class Fixed(Curve):
    """Keep the base value: `b`."""

    def __call__(self, base_value: float, clock: Clock) -> float:
        return base_value


class Step(Curve):
    """Multiply by `gamma` at every step: `max(min_value, b gamma^k)`.

    Args:
        step: an interval (`k = t // step`), or increasing milestones (`k` = how many of them are `<= t`).
        gamma: the factor of one step.
        min_value: a floor; none if not given.
        by_epoch: see `Curve`.
    """

    lengths: ClassVar = {"step": 1}

    def __init__(
        self,
        step: int | str | Sequence[int | str],
        *,
        gamma: float = 0.1,
        min_value: float | None = None,
        by_epoch: bool = True,
    ) -> None:
        super().__init__(by_epoch=by_epoch)
        self.step: Length | list[Length]
        expected = f"{LENGTH}, or a list of increasing ones"
        if isinstance(step, Sequence) and not isinstance(step, str):
            self.step = [parse_length("step", milestone, expected=expected) for milestone in step]
            plain = [milestone for milestone in step if isinstance(milestone, int)]
            if not step or any(a >= b for a, b in pairwise(plain)):
                raise ParameterError("step", list(step), expected)
        else:
            self.step = parse_length("step", step, expected=expected)
        check_number("gamma", gamma, gt=0)
        if min_value is not None:
            check_number("min_value", min_value, ge=0)
        self.gamma = gamma
        self.min_value = min_value

    def _fit(self, given: Self, clock: Clock) -> None:
        last = self._total(clock) - 1
        if isinstance(self.step, int):
            check_growth(self.gamma, last // self.step)
            return
        assert isinstance(self.step, list)
        assert isinstance(given.step, list)
        exact = [exact_length(length, clock, by_epoch=self.by_epoch) for length in given.step]
        if any(a >= b for a, b in pairwise(exact)):
            raise ParameterError("step", given.step, f"increasing; in {self._unit()} of this run it is {self.step}")
        check_growth(self.gamma, len(self.step))

    def __call__(self, base_value: float, clock: Clock) -> float:
        t = clock.epoch if self.by_epoch else clock.iter
        steps = t // self.step if isinstance(self.step, int) else bisect_right(self.step, t)  # type: ignore
        value = base_value * self.gamma**steps
        return value if self.min_value is None else max(value, self.min_value)

    def floors(self) -> dict[str, Floor]:
        return {"min_value": Floor(self.min_value or 0.0)}


class Exp(Curve):
    """Multiply by `gamma` every epoch or iteration: `b gamma^t`.

    Args:
        gamma: the factor of one epoch or iteration.
        by_epoch: see `Curve`.
    """

    def __init__(self, gamma: float, *, by_epoch: bool = True) -> None:
        super().__init__(by_epoch=by_epoch)
        check_number("gamma", gamma, gt=0)
        self.gamma = gamma

    def _fit(self, given: Self, clock: Clock) -> None:
        check_growth(self.gamma, self._total(clock) - 1)

    def __call__(self, base_value: float, clock: Clock) -> float:
        return base_value * self.gamma ** (clock.epoch if self.by_epoch else clock.iter)


class Poly(Curve):
    """A power of what is left of the run: `m + (b - m) (1 - t / T)^power`.

    Source: the "poly" policy of Caffe, known from DeepLab, https://arxiv.org/abs/1606.00915.

    Args:
        power: 1 is a straight line, more falls faster at first.
        min_value: the floor `m`.
        by_epoch: see `Curve`.
    """

    def __init__(self, *, power: float = 1.0, min_value: float = 0.0, by_epoch: bool = True) -> None:
        super().__init__(by_epoch=by_epoch)
        check_number("power", power, gt=0)
        check_number("min_value", min_value, ge=0)
        self.power = power
        self.min_value = min_value

    def __call__(self, base_value: float, clock: Clock) -> float:
        factor = clock.epoch / clock.max_epochs if self.by_epoch else clock.iter / clock.max_iters
        return (base_value - self.min_value) * (1 - factor) ** self.power + self.min_value

    def floors(self) -> dict[str, Floor]:
        return {"min_value": Floor(self.min_value)}


class Inv(Curve):
    """Fall with the inverse of time: `b (1 + gamma t)^(-power)`.

    Source: the "inv" policy of Caffe.

    Args:
        gamma: how fast time counts.
        power: the exponent.
        by_epoch: see `Curve`.
    """

    def __init__(self, gamma: float, *, power: float = 1.0, by_epoch: bool = True) -> None:
        super().__init__(by_epoch=by_epoch)
        check_number("gamma", gamma, gt=0)
        check_number("power", power, gt=0)
        self.gamma = gamma
        self.power = power

    def __call__(self, base_value: float, clock: Clock) -> float:
        return base_value * (1 + self.gamma * (clock.epoch if self.by_epoch else clock.iter)) ** -self.power


class Linear(Decay):
    """A straight line from the base value to the floor `m`: `b + (m - b) t / T`.

    At the last epoch or iteration `t = T - 1`, so the floor is approached and not reached, as in MMCV.

    Args: see `Decay`.
    """

    def __call__(self, base_value: float, clock: Clock) -> float:
        factor = clock.epoch / clock.max_epochs if self.by_epoch else clock.iter / clock.max_iters
        floor = base_value * self.floor_ratio + self.floor_value
        return base_value + (floor - base_value) * factor


class Cosine(Decay):
    """Half a cosine from the base value to the floor `m`: `m + (b - m) (1 + cos(pi t / T)) / 2`.

    At the last epoch or iteration `t = T - 1`, so the floor is approached and not reached, as in MMCV.
    Source: Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983 (one period, no restart).

    Args: see `Decay`.
    """

    def __call__(self, base_value: float, clock: Clock) -> float:
        factor = clock.epoch / clock.max_epochs if self.by_epoch else clock.iter / clock.max_iters
        floor = base_value * self.floor_ratio + self.floor_value
        return floor + 0.5 * (base_value - floor) * (cos(pi * factor) + 1.0)
