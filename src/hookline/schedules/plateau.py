"""Reduce when a metric stops improving."""

from __future__ import annotations

import math

from hookline.config.checks import check_number
from hookline.config.direction import mode_of
from hookline.config.errors import ParameterError
from hookline.schedules.clock import Clock, History
from hookline.schedules.curve import Curve, Floor


class Plateau(Curve):
    """Multiply by `factor` whenever a metric has not improved for a while: `max(min_value, b factor^k)`.

    An evaluation is better than the best before if it beats it by the share `threshold`:
    `x < best (1 - threshold)` with `mode=min`, `x > best (1 + threshold)` with `mode=max` (for a negative best the
    share is taken of its size). When more than `patience` evaluations in a row were not better, `k` goes up by one,
    and the next `cooldown` evaluations are not counted.

    `k` is a function of the metric's values in `clock.history`, in which the runner records every evaluation: a resumed
    run goes on as if it had never stopped. Where two evaluations fall into one epoch, each counts. Source:
    `torch.optim.lr_scheduler.ReduceLROnPlateau` with `threshold_mode="rel"`.

    Args:
        monitor: the metric: the name of a number of the history, which is a column of `metrics.csv`.
        mode: `min` or `max`: which way is better; what the metric's name says if not given.
        factor: the factor of one reduction, in (0, 1).
        patience: evaluations without improvement that are put up with.
        threshold: the share by which an improvement must beat the best; below 1 with `mode=min`.
        cooldown: evaluations after a reduction that are not counted.
        min_value: a floor.
    """

    def __init__(
        self,
        *,
        monitor: str = "val/loss",
        mode: str | None = None,
        factor: float = 0.1,
        patience: int = 5,
        threshold: float = 1e-4,
        cooldown: int = 0,
        min_value: float = 0.0,
    ) -> None:
        super().__init__(by_epoch=True)
        check_number("factor", factor, gt=0, lt=1)
        check_number("patience", patience, ge=0, integer=True)
        check_number("cooldown", cooldown, ge=0, integer=True)
        check_number("min_value", min_value, ge=0)
        self.monitor = monitor
        self.mode = mode_of(monitor, mode)
        # From 1 on no loss could ever be an improvement.
        check_number("threshold", threshold, ge=0, lt=1 if self.mode == "min" else None)
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.cooldown = cooldown
        self.min_value = min_value
        # The newest history that was counted and what it gave: most iterations ask about the one before's.
        self._counted: tuple[History, tuple[int, int], int] = ((), (0, 0), 0)

    def __call__(self, base_value: float, clock: Clock) -> float:
        history, size, reductions = self._counted
        # Rows are appended, and the last one may get more numbers.
        now = (len(clock.history), len(clock.history[-1])) if clock.history else (0, 0)
        if history is not clock.history or size != now:
            reductions = self.reductions(clock.history)
            self._counted = clock.history, now, reductions
        return max(base_value * self.factor**reductions, min(self.min_value, base_value))

    def floors(self) -> dict[str, Floor]:
        return {"min_value": Floor(self.min_value)}

    def reductions(self, history: History) -> int:
        """Return `k` after these rows; a row without the metric does not count.

        Raises:
            ParameterError: evaluations were recorded, and none of them has the metric.
        """
        values = [row[self.monitor] for row in history if self.monitor in row]
        evaluated = [row for row in history if any(name.startswith("val") for name in row)]
        if evaluated and not values:
            known = ", ".join(evaluated[-1])
            raise ParameterError("monitor", self.monitor, f"one of the run's numbers: {known}")
        best, bad, resting, reductions = math.inf if self.mode == "min" else -math.inf, 0, 0, 0
        for value in values:
            if self._better(value, best):
                best, bad = value, 0
            else:
                bad += 1
            if resting > 0:
                resting -= 1
                bad = 0
            if bad > self.patience:
                reductions += 1
                resting, bad = self.cooldown, 0
        return reductions

    def _better(self, value: float, best: float) -> bool:
        margin = abs(best) * self.threshold if math.isfinite(best) else 0.0
        return value < best - margin if self.mode == "min" else value > best + margin
