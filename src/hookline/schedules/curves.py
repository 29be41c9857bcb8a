"""The basic curves: fixed, step, cosine.

In every formula `b` is the base value, `t` the progress (the epoch, or with `by_epoch=False` the iteration, counted
from 0) and `T` the run's length in the same unit. Reference: the LR updater hooks of MMCV 1.7.2 (`mmcv/runner/hooks/
lr_updater.py`, OpenMMLab).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from hookline.checks import check_number
from hookline.errors import ParameterError
from hookline.schedules.clock import Clock
from hookline.schedules.curve import Curve, Floor, anneal_cos


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

    def __init__(
        self,
        step: int | Sequence[int],
        *,
        gamma: float = 0.1,
        min_value: float | None = None,
        by_epoch: bool = True,
    ) -> None:
        super().__init__(by_epoch=by_epoch)
        if isinstance(step, Sequence) and not isinstance(step, str):
            for milestone in step:
                check_number("step", milestone, gt=0, integer=True)
            if not step or any(a >= b for a, b in zip(step, step[1:], strict=False)):
                raise ParameterError("step", list(step), "an integer > 0 or a list of increasing ones")
        else:
            check_number("step", step, gt=0, integer=True)
        check_number("gamma", gamma, gt=0)
        if min_value is not None:
            check_number("min_value", min_value, ge=0)
        self.step = step
        self.gamma = gamma
        self.min_value = min_value

    def __call__(self, base_value: float, clock: Clock) -> float:
        t = clock.epoch if self.by_epoch else clock.iter
        steps = t // self.step if isinstance(self.step, int) else bisect_right(self.step, t)
        value = base_value * self.gamma**steps
        return value if self.min_value is None else max(value, self.min_value)


class Cosine(Curve):
    """Half a cosine from the base value to the floor `m`: `m + (b - m) (1 + cos(pi t / T)) / 2`.

    At the last epoch or iteration `t = T - 1`, so the floor is approached and not reached, as in MMCV.
    Source: Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983 (one period, no restart).

    Args:
        min_value: the floor `m`.
        min_value_ratio: the floor as a ratio of the base value; exactly one of the two.
        by_epoch: see `Curve`.
    """

    def __init__(
        self, *, min_value: float | None = None, min_value_ratio: float | None = None, by_epoch: bool = True
    ) -> None:
        super().__init__(by_epoch=by_epoch)
        self.floor = Floor(min_value, min_value_ratio)

    def __call__(self, base_value: float, clock: Clock) -> float:
        factor = clock.epoch / clock.max_epochs if self.by_epoch else clock.iter / clock.max_iters
        return anneal_cos(base_value, self.floor(base_value), factor)
