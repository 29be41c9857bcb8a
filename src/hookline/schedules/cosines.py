"""Cosine curves with more than one part: flat and cosine, restarts, cool-down.

`b`, `t` and `T` as in `hookline.schedules.curves`; `m` is the floor, `cos(x) = (1 + cos(pi x)) / 2` falls from 1 to 0.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from math import cos, pi
from typing import ClassVar, Self

from hookline.config.checks import check_number
from hookline.config.errors import ParameterError
from hookline.schedules.clock import Clock
from hookline.schedules.curve import Decay, anneal_cos
from hookline.schedules.length import LENGTH, exact_length, nearest, parse_length


class FlatCosine(Decay):
    """The base value, then half a cosine: `b` for `t < s`, then `m + (b - m) cos((t - s) / (T - s))`.

    The cosine starts at `s = round(T start_percent)`. Source: fastai's `fit_flat_cos`, as in MMCV 1.7.2.

    Args:
        start_percent: the share of the run before the cosine, in [0, 1].
        min_value, min_value_ratio, by_epoch: see `Decay`.
    """

    def __init__(
        self,
        *,
        start_percent: float = 0.75,
        min_value: float | None = None,
        min_value_ratio: float | None = None,
        by_epoch: bool = True,
    ) -> None:
        super().__init__(min_value=min_value, min_value_ratio=min_value_ratio, by_epoch=by_epoch)
        check_number("start_percent", start_percent, ge=0, le=1)
        self.start_percent = start_percent

    def _fit(self, given: Self, clock: Clock) -> None:
        total = self._total(clock)
        self._start = round(total * self.start_percent)
        self._rest = total - self._start

    def __call__(self, base_value: float, clock: Clock) -> float:
        progress = (clock.epoch if self.by_epoch else clock.iter) - self._start
        if progress < 0:
            return base_value
        return anneal_cos(base_value, base_value * self.floor_ratio + self.floor_value, progress / self._rest)


class CosineRestart(Decay):
    """Half a cosine in every period: `m + w_k (b - m) cos((t - start_k) / period_k)` in period `k`.

    Source: Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983, with a weight for every restart as in MMCV.

    Args:
        periods: the lengths of the periods; together they cover the run.
        restart_weights: the factor `w_k` of every period's height.
        min_value, min_value_ratio, by_epoch: see `Decay`.
    """

    def __init__(
        self,
        periods: Sequence[int | str],
        *,
        restart_weights: Sequence[float] = (1,),
        min_value: float | None = None,
        min_value_ratio: float | None = None,
        by_epoch: bool = True,
    ) -> None:
        super().__init__(min_value=min_value, min_value_ratio=min_value_ratio, by_epoch=by_epoch)
        if isinstance(periods, str) or not periods:
            raise ParameterError("periods", periods, f"a list, each element {LENGTH}")
        self.periods = [parse_length("periods", p, expected=f"a list, each element {LENGTH}") for p in periods]
        for weight in restart_weights:
            check_number("restart_weights", weight, ge=0)
        if len(restart_weights) != len(periods):
            raise ParameterError(
                "restart_weights", list(restart_weights), f"as many numbers as there are periods, {len(periods)}"
            )
        self.restart_weights = list(restart_weights)

    def _fit(self, given: Self, clock: Clock) -> None:
        # Not each period is rounded but where it ends, so that shares of the run that sum to 100% cover it.
        ends, end = [], Fraction(0)
        for period in self.periods:
            end += exact_length(period, clock, by_epoch=self.by_epoch)
            ends.append(nearest(end))
        total = self._total(clock)
        if ends[-1] < total:
            raise ParameterError(
                "periods",
                self.periods,
                f"periods that cover the run: they sum to {ends[-1]} {self._unit()}, and the run has {total}",
            )
        self._ends = ends
        self._starts = [0, *ends[:-1]]

    def __call__(self, base_value: float, clock: Clock) -> float:
        t = clock.epoch if self.by_epoch else clock.iter
        k = bisect_right(self._ends, t)
        start = self._starts[k]
        factor = (t - start) / (self._ends[k] - start)
        floor = base_value * self.floor_ratio + self.floor_value
        weighted = 0.5 * self.restart_weights[k] * (base_value - floor)
        return floor + weighted * (cos(pi * factor) + 1.0)


class CosineCooldown(Decay):
    """Half a cosine, then a last stretch at a constant low value.

    `m + (b - m) cos(t / (T - C))` up to and including `t = T - C`, where it reaches `m`; then `m cool_down_ratio`.
    Source: Awesome-Backbones, `core/optimizers/lr_update.py`, and MMPretrain's `CosineAnnealingCooldown`.

    Args:
        cool_down_time: the length `C` of the last stretch.
        cool_down_ratio: its value as a ratio of the floor, in (0, 1].
        min_value, min_value_ratio, by_epoch: see `Decay`.
    """

    lengths: ClassVar = {"cool_down_time": 0}

    def __init__(
        self,
        *,
        min_value: float | None = None,
        min_value_ratio: float | None = None,
        cool_down_time: int | str = 10,
        cool_down_ratio: float = 0.1,
        by_epoch: bool = True,
    ) -> None:
        super().__init__(min_value=min_value, min_value_ratio=min_value_ratio, by_epoch=by_epoch)
        self.cool_down_time = parse_length("cool_down_time", cool_down_time)
        check_number("cool_down_ratio", cool_down_ratio, gt=0, le=1)
        self.cool_down_ratio = cool_down_ratio

    def _fit(self, given: Self, clock: Clock) -> None:
        total = self._total(clock)
        assert isinstance(self.cool_down_time, int)
        if self.cool_down_time >= total:
            raise ParameterError(
                "cool_down_time", given.cool_down_time, f"shorter than the run, which has {total} {self._unit()}"
            )
        self._end = total - self.cool_down_time

    def __call__(self, base_value: float, clock: Clock) -> float:
        t = clock.epoch if self.by_epoch else clock.iter
        floor = base_value * self.floor_ratio + self.floor_value
        return floor * self.cool_down_ratio if t > self._end else anneal_cos(base_value, floor, t / self._end)
