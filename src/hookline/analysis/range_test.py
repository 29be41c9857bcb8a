"""The learning-rate range test: train a while with a rising learning rate, and see where the loss falls and breaks.

Source: Smith, Cyclical Learning Rates for Training Neural Networks, https://arxiv.org/abs/1506.01186, section 3.3; the
exponential form with a smoothed loss is fastai's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import pstdev

from hookline.engine import Hook, Priority, Runner
from hookline.schedules import Clock, Curve


class RangeTest(Curve):
    """From `start` at the first iteration to `end` at the last: `s (e/s)^(i/(n-1))`, or linear `s + (e-s) i/(n-1)`.

    Parameter groups keep the ratios of their base values: the group with the largest gets this, another its share.

    Args:
        start: the learning rate of the first iteration.
        end: of the last.
        shape: `exp` or `linear`.
        largest: the largest base value of the groups.
    """

    def __init__(self, *, start: float, end: float, shape: str = "exp", largest: float) -> None:
        super().__init__(by_epoch=False)
        self.start, self.end, self.shape, self.largest = start, end, shape, largest

    def __call__(self, base_value: float, clock: Clock) -> float:
        progress = clock.iter / max(1, clock.max_iters - 1)
        if self.shape == "exp":
            value = self.start * (self.end / self.start) ** progress
        else:
            value = self.start + (self.end - self.start) * progress
        return value * (base_value / self.largest)


class RangeTestHook(Hook):
    """Note learning rate and loss each iteration, and stop once the loss has broken.

    The loss has broken when it is not finite, or when the smoothed loss is more than `diverge` times its least.

    Args:
        smoothing: `beta` of the mean `m <- beta m + (1 - beta) loss`, its start corrected as in Adam.
        diverge: how many times the least is too much.
    """

    priority = Priority.NORMAL

    def __init__(self, smoothing: float, diverge: float) -> None:
        self.smoothing = smoothing
        self.diverge = diverge
        self.lr: list[float] = []
        self.loss: list[float] = []
        self.smoothed: list[float] = []
        self._mean = 0.0

    def after_train_iter(self, runner: Runner) -> None:
        loss = runner.outputs["loss"].item()
        self._mean = self.smoothing * self._mean + (1 - self.smoothing) * loss
        smoothed = self._mean / (1 - self.smoothing ** (len(self.loss) + 1))
        if not math.isfinite(loss):
            runner.stop("the loss is not finite")
            return
        self.lr.append(max(group["lr"] for group in runner.optimizer.param_groups))
        self.loss.append(loss)
        self.smoothed.append(smoothed)
        if smoothed > self.diverge * min(self.smoothed):
            runner.stop("the loss has broken")


def is_flat(loss: Sequence[float], smoothed: Sequence[float]) -> bool:
    """Say whether the smoothed loss falls by less than a twentieth, or than twice what the single losses scatter."""
    first = min(max(1, len(smoothed) // 10), len(smoothed) - 1)
    least = min(range(len(smoothed)), key=smoothed.__getitem__)
    fall = max(smoothed[first : least + 1], default=smoothed[least]) - smoothed[least]
    scatter = pstdev([a - b for a, b in zip(loss[: least + 1], smoothed[: least + 1], strict=True)])
    return fall < 0.05 * smoothed[first] or fall < 2 * scatter


def suggest(lr: Sequence[float], smoothed: Sequence[float]) -> float | None:
    """Return the learning rate at which the smoothed loss falls fastest per factor of it, before its least.

    None if it never falls. The first tenth, in which the mean is young, and what lies behind the least do not count.
    """
    least = min(range(len(smoothed)), key=smoothed.__getitem__) if smoothed else 0
    first, reach = max(1, len(smoothed) // 10), max(1, len(smoothed) // 20)
    # Over a twentieth of the points to either side: from one to the next the loss falls fastest by chance.
    slopes = {
        i: (smoothed[i + reach] - smoothed[i - reach]) / (math.log(lr[i + reach]) - math.log(lr[i - reach]))
        for i in range(max(first, reach), min(least, len(smoothed) - reach))
    }
    steepest = min(slopes, key=slopes.__getitem__, default=None)
    return None if steepest is None or slopes[steepest] >= 0 else lr[steepest]
