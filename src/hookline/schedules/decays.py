"""Decays beyond those of MMCV: warm-up-stable-decay, hyperbolic tangent, REX.

`b`, `t` and `T` as in `hookline.schedules.curves`, `z = t / T`, and `m` is the floor. They change every iteration
unless told `by_epoch=True`, as their authors have them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Self

from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ParameterError
from hookline.schedules.clock import Clock
from hookline.schedules.curve import Decay
from hookline.schedules.length import parse_length


def linear_tail(x: float) -> float:
    """Return `1 - x`."""
    return 1 - x


def sqrt_tail(x: float) -> float:
    """Return `1 - sqrt(x)`."""
    return 1 - math.sqrt(x)


def cosine_tail(x: float) -> float:
    """Return `(1 + cos(pi x)) / 2`."""
    return 0.5 * (1 + math.cos(math.pi * x))


# Functions with names, so that a curve can be pickled.
TAILS: dict[str, Callable[[float], float]] = {"linear": linear_tail, "sqrt": sqrt_tail, "cosine": cosine_tail}


class Wsd(Decay):
    """Stay, then fall over the last `D`: `b` for `t <= T - D`, then `m + (b - m) f((t - (T - D)) / D)`.

    The tail `f(x)` is `linear`, `1 - x`; `sqrt`, `1 - sqrt(x)`; or `cosine`, `(1 + cos(pi x)) / 2`. After a warm-up
    it is the warm-up-stable-decay schedule. Sources: Hu et al., MiniCPM, https://arxiv.org/abs/2404.06395; the tails:
    Hägele et al., https://arxiv.org/abs/2405.18392, who find `sqrt` over a fifth of the run the best.

    Args:
        decay_time: the length `D` of the tail.
        tail: `linear`, `sqrt` or `cosine`.
        min_value, min_value_ratio, by_epoch: see `Decay`.
    """

    lengths: ClassVar = {"decay_time": 0}

    def __init__(
        self,
        decay_time: int | str = "20%",
        *,
        tail: str = "sqrt",
        min_value: float | None = None,
        min_value_ratio: float | None = None,
        by_epoch: bool = False,
    ) -> None:
        super().__init__(min_value=min_value, min_value_ratio=min_value_ratio, by_epoch=by_epoch)
        self.decay_time = parse_length("decay_time", decay_time)
        check_choice("tail", tail, list(TAILS))
        self.tail = TAILS[tail]

    def _fit(self, given: Self, clock: Clock) -> None:
        total = self._total(clock)
        assert isinstance(self.decay_time, int)
        if self.decay_time > total:
            raise ParameterError(
                "decay_time", given.decay_time, f"at most as long as the run, which has {total} {self._unit()}"
            )
        self._start = total - self.decay_time

    def __call__(self, base_value: float, clock: Clock) -> float:
        progress = (clock.epoch if self.by_epoch else clock.iter) - self._start
        if progress <= 0:
            return base_value
        floor = base_value * self.floor_ratio + self.floor_value
        return floor + (base_value - floor) * self.tail(progress / self.decay_time)  # type: ignore[operator]


class Tanh(Decay):
    """The falling half of a hyperbolic tangent: `m + (b - m) (1 - tanh(lower + (upper - lower) z)) / 2`.

    The first value is `m + (b - m) (1 - tanh(lower)) / 2`, a hair below `b`. Source: Hsueh et al., HTD,
    https://arxiv.org/abs/1806.01593, with their bounds; timm's `TanhLRScheduler` takes (-7, 3).

    Args:
        lower: where on the tangent the run starts.
        upper: and where it ends.
        min_value, min_value_ratio, by_epoch: see `Decay`.
    """

    def __init__(
        self,
        *,
        lower: float = -6.0,
        upper: float = 3.0,
        min_value: float | None = None,
        min_value_ratio: float | None = None,
        by_epoch: bool = False,
    ) -> None:
        super().__init__(min_value=min_value, min_value_ratio=min_value_ratio, by_epoch=by_epoch)
        check_number("lower", lower)
        check_number("upper", upper, gt=lower)
        self.lower = lower
        self.upper = upper

    def __call__(self, base_value: float, clock: Clock) -> float:
        z = clock.epoch / clock.max_epochs if self.by_epoch else clock.iter / clock.max_iters
        floor = base_value * self.floor_ratio + self.floor_value
        return floor + 0.5 * (base_value - floor) * (1 - math.tanh(self.lower + (self.upper - self.lower) * z))


class Rex(Decay):
    """Reflected exponential: `m + (b - m) (1 - z) / (1 - z / 2)`, above a straight line all the way.

    Source: Chen, Wolfe and Kyrillidis, REX, https://arxiv.org/abs/2107.04197.

    Args: see `Decay`.
    """

    def __init__(
        self, *, min_value: float | None = None, min_value_ratio: float | None = None, by_epoch: bool = False
    ) -> None:
        super().__init__(min_value=min_value, min_value_ratio=min_value_ratio, by_epoch=by_epoch)

    def __call__(self, base_value: float, clock: Clock) -> float:
        z = clock.epoch / clock.max_epochs if self.by_epoch else clock.iter / clock.max_iters
        floor = base_value * self.floor_ratio + self.floor_value
        return floor + (base_value - floor) * ((1 - z) / (1 - 0.5 * z))
