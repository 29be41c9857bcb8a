"""Set parameter-group fields from their schedules before every iteration."""

from __future__ import annotations

from typing import Any

from hookline.build import parameter_error
from hookline.errors import ConfigError, ParameterError
from hookline.hooks.base import Hook, Priority
from hookline.optim.fields import momentum_field
from hookline.runner import Runner
from hookline.schedules import Curve
from hookline.schedules.build import for_groups


class ScheduleHook(Hook):
    """Drive the optimizer's parameter groups by `runner.schedules`, each group from its own base value.

    The base value is what the optimizer was built with; it is kept in the group as `initial_<field>`. `momentum` is
    the group's `momentum`, or the first of its `betas`. Any other field is driven as it is named; a group in which it
    is 0 keeps it 0, so that parameters without weight decay stay without.
    """

    priority = Priority.VERY_HIGH

    def __init__(self) -> None:
        # For each group and field: the group, the key and, within a tuple, the index to set; the base value; the curve.
        self._targets: list[tuple[dict[str, Any], str, int | None, float, Curve]] = []

    def before_run(self, runner: Runner) -> None:
        groups = runner.optimizer.param_groups
        self._targets = []
        for field, schedule in runner.schedules.items():
            curves = for_groups(schedule, f"{field}_schedule", len(groups), field)
            for group, curve in zip(groups, curves, strict=True):
                key, index = self._place(field, group, runner.optimizer)
                base = group.setdefault(f"initial_{field}", group[key] if index is None else group[key][index])
                if base != 0 or field in ("lr", "momentum"):
                    self._targets.append((group, key, index, base, curve))

    def before_train_epoch(self, runner: Runner) -> None:
        for field, schedule in runner.schedules.items():
            try:
                schedule.observe(runner.history)
            except ParameterError as error:
                raise parameter_error(f"{field}_schedule", error) from error

    def before_train_iter(self, runner: Runner) -> None:
        clock = runner.clock
        for group, key, index, base, curve in self._targets:
            value = curve(base, clock)
            if index is None:
                group[key] = value
            else:
                old = group[key]
                group[key] = (*old[:index], value, *old[index + 1 :])

    @staticmethod
    def _place(field: str, group: dict[str, Any], optimizer: object) -> tuple[str, int | None]:
        place = momentum_field(group) if field == "momentum" else (field, None) if field in group else None
        if place is None:
            has = "neither momentum nor betas" if field == "momentum" else f"no {field}"
            raise ConfigError(
                f"{field}_schedule: {type(optimizer).__name__} has {has} to schedule; choose {field}_schedule=none"
            )
        return place
