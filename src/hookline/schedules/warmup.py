"""Warm-up: a wrapper around any curve."""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import copy

from hookline.config.checks import check_bool, check_choice, check_number
from hookline.config.errors import ParameterError
from hookline.schedules.clock import Clock
from hookline.schedules.curve import Curve, Floor
from hookline.schedules.length import LENGTH, parse_length, resolve_length

_log = logging.getLogger(__name__)


def constant(progress: float, ratio: float) -> float:
    """Return `ratio` all through the warm-up."""
    return ratio


def linear(progress: float, ratio: float) -> float:
    """Return `1 - (1 - progress) (1 - ratio)`: a straight line from `ratio` to 1."""
    return 1 - (1 - progress) * (1 - ratio)


def exp(progress: float, ratio: float) -> float:
    """Return `ratio^(1 - progress)`: from `ratio` to 1 by a constant factor an iteration."""
    return ratio ** (1 - progress)


SHAPES: dict[str, Callable[[float, float], float]] = {"constant": constant, "linear": linear, "exp": exp}
JOINS = ("scale", "shift")


class WarmUp(Curve):
    """Multiply by a factor `f(i / W)` that rises to 1 while iteration `i < W`; from `W` on the curve is alone.

    How the two join is a choice:

    - `scale`: the factor multiplies the running curve, `curve(b, i) f(i / W)`. That is MMCV 1.x's warm-up; after a
      long one the base value is never reached, as the curve has come down meanwhile.
    - `shift`: the curve starts where the warm-up ends. It sees a run of `T - W` iterations whose first is the `W`-th
      (its epochs count from there too), and during the warm-up the factor multiplies the curve's first value. With
      `linear` and `exp` there is no jump.

    Args:
        curve: the curve to wrap.
        warmup: `constant`, `linear` or `exp`; none for no warm-up.
        warmup_iters: the length `W` in iterations, or in epochs with `warmup_by_epoch`; or with a unit of its own.
        warmup_ratio: the factor of the first iteration, in (0, 1].
        warmup_by_epoch: `warmup_iters` counts epochs.
        warmup_join: `scale` or `shift`.
        inverse: divide by the factor. MMCV warms momentum up this way: from high to low, against the learning rate.
    """

    def __init__(
        self,
        curve: Curve,
        *,
        warmup: str | None = None,
        warmup_iters: int | str = 0,
        warmup_ratio: float = 0.1,
        warmup_by_epoch: bool = False,
        warmup_join: str = "scale",
        inverse: bool = False,
    ) -> None:
        super().__init__(by_epoch=False)
        check_choice("warmup", warmup, [None, *SHAPES])
        check_bool("warmup_by_epoch", warmup_by_epoch)
        check_number("warmup_ratio", warmup_ratio, gt=0, le=1)
        check_choice("warmup_join", warmup_join, JOINS)
        self.warmup_iters = parse_length(
            "warmup_iters", warmup_iters, zero=warmup is None, expected=f"{LENGTH}, with warmup={warmup}"
        )
        self.curve = curve
        self.warmup = warmup
        self.warmup_ratio = warmup_ratio
        self.warmup_by_epoch = warmup_by_epoch
        self.warmup_join = warmup_join
        self.inverse = inverse

    def for_run(self, clock: Clock) -> Curve:
        """Return the schedule of this run: the bare curve when there is nothing to warm up."""
        length = resolve_length(self.warmup_iters, clock, by_epoch=False)
        if self.warmup_by_epoch and isinstance(self.warmup_iters, int):
            length *= clock.iters_per_epoch
        if self.warmup is None or length == 0:
            if self.warmup_iters != 0:
                why = (
                    f"needs one of {', '.join(SHAPES)}"
                    if self.warmup is None
                    else "is less than half an iteration long"
                )
                _log.warning("warmup_iters=%s: there is no warm-up, as it %s", self.warmup_iters, why)
            return self.curve.for_run(clock)
        total = clock.max_iters
        rest = None
        if self.warmup_join == "shift":
            if length >= total:
                raise ParameterError(
                    "warmup_iters",
                    self.warmup_iters,
                    f"shorter than the run with warmup_join=shift: it is {length} iterations long, the run {total}",
                )
            rest = Clock.for_run(clock.iters_per_epoch, max_iters=total - length)
        elif length > total:
            _log.warning(
                "warmup_iters=%s: the warm-up is %d iterations long, and the run, of %d, ends before it",
                self.warmup_iters,
                length,
                total,
            )
        schedule = self._around(self.curve.for_run(rest or clock))
        schedule._length = length
        schedule._shape = SHAPES[self.warmup]
        schedule._rest = rest
        # From here on the curve is called with the run's own clock: under shift, never.
        schedule._alone_from = length if rest is None else total
        return schedule

    def for_group(self, index: int, count: int) -> Curve:
        curve = self.curve.for_group(index, count)
        return self if curve is self.curve else self._around(curve)

    def floors(self) -> dict[str, Floor]:
        return self.curve.floors()

    def __call__(self, base_value: float, clock: Clock) -> float:
        i = clock.iter
        if i >= self._alone_from:
            return self.curve(base_value, clock)
        length = self._length
        if self._rest is not None:
            clock = self._rest.at(i - length if i > length else 0, clock.history)
        value = self.curve(base_value, clock)
        if i >= length:
            return value
        factor = self._shape(i / length, self.warmup_ratio)
        return value / factor if self.inverse else value * factor

    def _around(self, curve: Curve) -> WarmUp:
        other = copy(self)
        other.curve = curve
        return other

    # Set by for_run.
    _length: int
    _shape: Callable[[float, float], float]
    _rest: Clock | None
    _alone_from: int

    @property
    def end(self) -> int:
        """The first iteration after the warm-up."""
        return self._length
