"""Set parameter-group fields from their schedules before every iteration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from hookline.config.errors import ConfigError, ParameterError
from hookline.config.instantiate import parameter_error
from hookline.engine import Runner
from hookline.engine.hook import Hook, Priority
from hookline.optim.group_values import momentum_field
from hookline.schedules import Clock, Curve
from hookline.schedules.build import for_groups


class _Target(NamedTuple):
    """What to set: a group's key, `at` an index where it holds a tuple; the curve and its base; the block's values."""

    group: dict[str, Any]
    key: str
    at: int | None
    base: float
    curve: Curve
    values: list[float]


class ScheduleHook(Hook):
    """Drive the optimizer's parameter groups by `runner.schedules`, each group from its own base value.

    The base value is what the optimizer was built with; it is kept in the group as `initial_<field>`. `momentum` is
    the group's `momentum`, or the first of its `betas`. Any other field is driven as it is named; a group in which it
    is 0 keeps it 0, so that parameters without weight decay stay without.
    """

    priority = Priority.VERY_HIGH

    # Values are computed for so many iterations at once, never beyond the epoch: a schedule is a pure function of the
    # clock, and calling it once an iteration, between two updates, takes several times as long as in a row.
    BLOCK = 64

    def __init__(self) -> None:
        self._targets: list[_Target] = []
        self._start = self._stop = 0

    def before_run(self, runner: Runner) -> None:
        groups = runner.optimizer.param_groups
        self._targets = []
        for field, schedule in runner.schedules.items():
            curves = for_groups(schedule, f"{field}_schedule", len(groups), field)
            for group, curve in zip(groups, curves, strict=True):
                key, index = self._place(field, group, runner.optimizer)
                base = group.setdefault(f"initial_{field}", group[key] if index is None else group[key][index])
                if base != 0 or field in ("lr", "momentum"):
                    self._targets.append(_Target(group, key, index, base, curve, []))

    def before_train_epoch(self, runner: Runner) -> None:
        for field, schedule in runner.schedules.items():
            try:
                schedule.observe(runner.history)
            except ParameterError as error:
                raise parameter_error(f"{field}_schedule", error) from error
        self._stop = runner.clock.iter

    def before_train_iter(self, runner: Runner) -> None:
        i = runner.clock.iter
        if i >= self._stop:
            self._compute(runner.clock)
        i -= self._start
        for group, key, index, _, _, values in self._targets:
            if index is None:
                group[key] = values[i]
            else:
                old = group[key]
                group[key] = (*old[:index], values[i], *old[index + 1 :])

    def _compute(self, clock: Clock) -> None:
        end = min((clock.epoch + 1) * clock.iters_per_epoch, clock.max_iters)
        self._start, self._stop = clock.iter, max(clock.iter + 1, min(clock.iter + self.BLOCK, end))
        moving = replace(clock)
        for target in self._targets:
            target.values.clear()
            for moving.iter in range(self._start, self._stop):
                target.values.append(target.curve(target.base, moving))

    @staticmethod
    def _place(field: str, group: dict[str, Any], optimizer: object) -> tuple[str, int | None]:
        place = momentum_field(group) if field == "momentum" else (field, None) if field in group else None
        if place is None:
            has = "neither momentum nor betas" if field == "momentum" else f"no {field}"
            raise ConfigError(
                f"{field}_schedule: {type(optimizer).__name__} has {has} to schedule; choose {field}_schedule=none"
            )
        return place
