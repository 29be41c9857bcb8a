"""Curves that go up as well as down: cyclic and one-cycle. They count in iterations, `i` of `T = max_iters`."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Self

from hookline.config.checks import check_bool, check_choice, check_number
from hookline.config.errors import ParameterError
from hookline.schedules.clock import Clock
from hookline.schedules.curve import ANNEALS, Curve
from hookline.schedules.length import LENGTH, Length, parse_length, resolve_length


class _ByIteration(Curve):
    """A curve that has no meaning by epoch; MMCV takes the parameter all the same, and so do we."""

    def __init__(self, *, by_epoch: bool = False) -> None:
        if by_epoch is not False:
            raise ParameterError("by_epoch", by_epoch, "false: this curve is counted in iterations")
        super().__init__(by_epoch=False)


class Cyclic(_ByIteration):
    """Up from the base value to a peak and down to a low, `cyclic_times` times.

    A cycle has `L = T // cyclic_times` iterations. The first `U = int(L step_ratio_up)` go from `b` to `b up`, the
    others from `b up` to `b low`. In cycle `c` the peak is `1 - gamma^c + gamma^c up`: with `gamma < 1` it comes down
    towards the base value. Source: Smith, https://arxiv.org/abs/1506.01186, with a cosine as in MMCV.

    MMCV's corner is kept: with no way up (`U = 0`) it is `low`, not `up`, that `gamma` draws to the base value.

    Args:
        target_ratio: `up` and `low` as ratios of the base value; a single number is `up`, with `low = up / 1e5`.
        cyclic_times: the number of cycles in the run.
        step_ratio_up: the share of a cycle that goes up, in [0, 1).
        anneal_strategy: `cos` or `linear`.
        gamma: the factor of one cycle, in (0, 1].
        by_epoch: false.
    """

    def __init__(
        self,
        *,
        target_ratio: float | Sequence[float] = (10, 1e-4),
        cyclic_times: int = 1,
        step_ratio_up: float = 0.4,
        anneal_strategy: str = "cos",
        gamma: float = 1.0,
        by_epoch: bool = False,
    ) -> None:
        super().__init__(by_epoch=by_epoch)
        ratios = list(target_ratio) if isinstance(target_ratio, Sequence) else [target_ratio]
        if len(ratios) not in (1, 2):
            raise ParameterError("target_ratio", ratios, "a number > 0, or two: the highest and the last ratio")
        check_number("target_ratio", ratios[0], gt=0)
        if len(ratios) == 2:
            check_number("target_ratio", ratios[1], ge=0)
        check_number("cyclic_times", cyclic_times, gt=0, integer=True)
        check_number("step_ratio_up", step_ratio_up, ge=0, lt=1)
        check_choice("anneal_strategy", anneal_strategy, list(ANNEALS))
        check_number("gamma", gamma, gt=0, le=1)
        self.up = ratios[0]
        self.low = ratios[1] if len(ratios) == 2 else ratios[0] / 1e5
        self.cyclic_times = cyclic_times
        self.step_ratio_up = step_ratio_up
        self.anneal = ANNEALS[anneal_strategy]
        self.gamma = gamma

    def _fit(self, given: Self, clock: Clock) -> None:
        if self.cyclic_times > clock.max_iters:
            raise ParameterError(
                "cyclic_times", self.cyclic_times, f"at most the iterations of the run, {clock.max_iters}"
            )
        self._cycle = clock.max_iters // self.cyclic_times
        self._way_up = int(self.step_ratio_up * self._cycle)

    def __call__(self, base_value: float, clock: Clock) -> float:
        cycle, i = divmod(clock.iter, self._cycle)
        scale = self.gamma**cycle
        way_up = self._way_up
        if i < way_up:
            return self.anneal(base_value, base_value * (1 - scale + self.up * scale), i / way_up)
        up, low = self.up, self.low
        if way_up:
            up = 1 - scale + up * scale
        else:
            low = 1 - scale + low * scale
        return self.anneal(base_value * up, base_value * low, (i - way_up) / (self._cycle - way_up))


class _Phases(_ByIteration):
    """Phases one after the other, each from one level to the next; what the two one-cycle curves share.

    With `N` steps in all, the way to the peak ends at iteration `pct_start N - 1` (not rounded), with `three_phase`
    the way back at `2 pct_start N - 2`, and the last phase at `N - 1`.
    """

    def __init__(self, *, pct_start: float, anneal_strategy: str, three_phase: bool, by_epoch: bool) -> None:
        super().__init__(by_epoch=by_epoch)
        check_number("pct_start", pct_start, ge=0, le=1)
        check_choice("anneal_strategy", anneal_strategy, list(ANNEALS))
        check_bool("three_phase", three_phase)
        self.pct_start = pct_start
        self.anneal = ANNEALS[anneal_strategy]
        self.three_phase = three_phase

    def _set_phases(self, levels: tuple[float, ...]) -> None:
        """Make the phases between the levels, which are multiples of a unit that `_value` is given."""
        steps = self._steps
        ends = [float(self.pct_start * steps) - 1]
        if self.three_phase:
            ends.append(float(2 * self.pct_start * steps) - 2)
        ends.append(steps - 1)
        self._phases: list[tuple[float, float, float, float, float]] = []
        start = 0.0
        for end, before, after in zip(ends, levels[:-1], levels[1:], strict=True):
            # A phase that begins and ends at the same iteration has no length to divide by; its end value holds.
            since, span = (start, end - start) if end != start else (start - 1, 1.0)
            self._phases.append((end, since, span, before, after))
            start = end

    def _value(self, unit: float, i: int) -> float:
        for end, start, span, before, after in self._phases:
            if i <= end:
                return self.anneal(unit * before, unit * after, (i - start) / span)
        raise AssertionError("the last phase ends with the run, or later")

    # The cycle's length, set by _fit.
    _steps: int


class OneCycle(_Phases):
    """Once up to a peak and down to almost nothing.

    From `peak / div_factor` to `peak` to `peak / div_factor / final_div_factor`; with `three_phase` the way down first
    mirrors the way up. The first phase ends at iteration `pct_start N - 1`, of `N = total_steps`.
    Source: Smith and Topin, https://arxiv.org/abs/1708.07120, as in PyTorch's `OneCycleLR` and MMCV.

    Args:
        max_value: the peak: one for all parameter groups, one for each, or (not in MMCV) each group's base value.
        total_steps: the steps `N` of the whole cycle, at least the run's iterations, which are the default.
        pct_start: the share of the cycle on the way up, in [0, 1].
        anneal_strategy: `cos` or `linear`.
        div_factor: the first value is the peak divided by it.
        final_div_factor: the last value is the first divided by it.
        three_phase: go down the way it came up, and only then to the last value.
        by_epoch: false.
    """

    def __init__(
        self,
        max_value: float | Sequence[float] | None = None,
        *,
        total_steps: int | str | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        by_epoch: bool = False,
    ) -> None:
        super().__init__(
            pct_start=pct_start, anneal_strategy=anneal_strategy, three_phase=three_phase, by_epoch=by_epoch
        )
        self.max_value = _per_group("max_value", max_value)
        self.total_steps: Length | None = None
        if total_steps is not None:
            self.total_steps = parse_length("total_steps", total_steps, expected=f"null or {LENGTH}")
        check_number("div_factor", div_factor, gt=0)
        check_number("final_div_factor", final_div_factor, gt=0)
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor

    def _fit(self, given: Self, clock: Clock) -> None:
        steps = clock.max_iters
        if self.total_steps is not None:
            steps = resolve_length(self.total_steps, clock, by_epoch=False)
        if steps < clock.max_iters:
            raise ParameterError("total_steps", self.total_steps, f"at least the run's {clock.max_iters} iterations")
        self._steps = steps
        # In multiples of the first value, in MMCV's order of operations, to the last bit.
        last = 1 / self.final_div_factor
        self._set_phases((1, self.div_factor, 1, last) if self.three_phase else (1, self.div_factor, last))

    def for_group(self, index: int, count: int) -> Curve:
        if not isinstance(self.max_value, list):
            return self
        curve = copy(self)
        curve.max_value = _of_group("max_value", self.max_value, index, count)
        return curve

    def __call__(self, base_value: float, clock: Clock) -> float:
        peak = base_value if self.max_value is None else self.max_value
        return self._value(peak / self.div_factor, clock.iter)  # type: ignore[operator]


class OneCycleInverse(_Phases):
    """The other way round, for momentum: from `max_value` down to `base_value` and back, `T` iterations in all.

    With the same lengths it is lowest where `OneCycle` is highest; `OneCycle`'s `total_steps` and a warm-up that shifts
    its start make the two differ. The optimizer's own value plays no part.

    Args:
        base_value: the lowest value: one for all parameter groups, or one for each.
        max_value: the first and last value: one for all parameter groups, or one for each.
        pct_start: the share of the run on the way down, in [0, 1].
        anneal_strategy: `cos` or `linear`.
        three_phase: go up the way it came down, and then stay.
        by_epoch: false.
    """

    def __init__(
        self,
        *,
        base_value: float | Sequence[float] = 0.85,
        max_value: float | Sequence[float] = 0.95,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        three_phase: bool = False,
        by_epoch: bool = False,
    ) -> None:
        super().__init__(
            pct_start=pct_start, anneal_strategy=anneal_strategy, three_phase=three_phase, by_epoch=by_epoch
        )
        self.base_value = _per_group("base_value", base_value)
        self.max_value = _per_group("max_value", max_value)

    def _fit(self, given: Self, clock: Clock) -> None:
        self._steps = clock.max_iters
        self._set_levels()

    def _set_levels(self) -> None:
        if not isinstance(self.max_value, list) and not isinstance(self.base_value, list):
            high, low = self.max_value, self.base_value
            self._set_phases((high, low, high, high) if self.three_phase else (high, low, high))  # type: ignore[arg-type]

    def for_group(self, index: int, count: int) -> Curve:
        if not isinstance(self.base_value, list) and not isinstance(self.max_value, list):
            return self
        curve = copy(self)
        curve.base_value = _of_group("base_value", self.base_value, index, count)
        curve.max_value = _of_group("max_value", self.max_value, index, count)
        curve._set_levels()
        return curve

    def __call__(self, base_value: float, clock: Clock) -> float:
        return self._value(1.0, clock.iter)


def _per_group(name: str, value: float | Sequence[float] | None) -> float | list[float] | None:
    if isinstance(value, Sequence) and not isinstance(value, str):
        if not value:
            raise ParameterError(name, [], "a number, or one for each parameter group")
        for v in value:
            check_number(name, v, gt=0)
        return list(value)
    if value is not None:
        check_number(name, value, gt=0)
    return value


def _of_group(name: str, value: float | list[float] | None, index: int, count: int) -> float | None:
    if not isinstance(value, list):
        return value
    if len(value) != count:
        raise ParameterError(name, value, f"a number, or one for each of the {count} parameter groups")
    return value[index]
