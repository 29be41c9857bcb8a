"""Warm-up: a wrapper around any curve."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

from hookline.checks import check_bool, check_choice, check_number
from hookline.errors import ParameterError
from hookline.schedules.clock import Clock
from hookline.schedules.curve import Curve


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


class WarmUp(Curve):
    """Multiply the running curve by a factor that rises to 1: `curve(b, t) f(i / W)` for iteration `i < W`.

    The factor `f` starts at `warmup_ratio`; from iteration `W` on the curve is untouched. The product is MMCV 1.x's
    warm-up, so after a long one the base value is never reached: the curve has come down meanwhile.

    Args:
        curve: the curve to wrap.
        warmup: `constant`, `linear` or `exp`; none for no warm-up.
        warmup_iters: the length `W` in iterations, or in epochs with `warmup_by_epoch`.
        warmup_ratio: the factor of the first iteration, in (0, 1].
        warmup_by_epoch: `warmup_iters` counts epochs.
    """

    def __init__(
        self,
        curve: Curve,
        *,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = 0.1,
        warmup_by_epoch: bool = False,
    ) -> None:
        check_choice("warmup", warmup, [None, *SHAPES])
        check_bool("warmup_by_epoch", warmup_by_epoch)
        check_number("warmup_ratio", warmup_ratio, gt=0, le=1)
        check_number("warmup_iters", warmup_iters, ge=0, integer=True)
        if warmup is not None and warmup_iters == 0:
            raise ParameterError("warmup_iters", warmup_iters, f"an integer > 0 with warmup={warmup}")
        self.curve = curve
        self.warmup = warmup
        self.warmup_iters = warmup_iters
        self.warmup_ratio = warmup_ratio
        self.warmup_by_epoch = warmup_by_epoch

    def __call__(self, base_value: float, clock: Clock) -> float:
        value = self.curve(base_value, clock)
        if self.warmup is None:
            return value
        length = self.warmup_iters * clock.iters_per_epoch if self.warmup_by_epoch else self.warmup_iters
        if clock.iter >= length:
            return value
        return value * SHAPES[self.warmup](clock.iter / length, self.warmup_ratio)

    def for_run(self, clock: Clock) -> WarmUp:
        return self._around(self.curve.for_run(clock))

    def for_group(self, index: int, count: int) -> WarmUp:
        return self._around(self.curve.for_group(index, count))

    def _around(self, curve: Curve) -> WarmUp:
        other = copy(self)
        other.curve = curve
        return other
