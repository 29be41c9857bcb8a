"""Set a parameter-group field from its schedule before every iteration."""

from __future__ import annotations

from typing import Any

from hookline.hooks.base import Hook, Priority
from hookline.runner import Runner
from hookline.schedules import Curve


class ScheduleHook(Hook):
    """Drive `field` of every parameter group by `runner.schedules[field]`, each from the group's own base value.

    The base value is what the optimizer was built with; it is kept in the group as `initial_<field>`.

    Args:
        field: the parameter-group field, such as `lr`.
    """

    priority = Priority.VERY_HIGH

    def __init__(self, field: str = "lr") -> None:
        self.field = field
        self._targets: list[tuple[dict[str, Any], float, Curve]] = []

    def before_run(self, runner: Runner) -> None:
        groups = runner.optimizer.param_groups
        schedule = runner.schedules[self.field]
        self._targets = [
            (group, group.setdefault(f"initial_{self.field}", group[self.field]), schedule.for_group(i, len(groups)))
            for i, group in enumerate(groups)
        ]

    def before_train_iter(self, runner: Runner) -> None:
        clock, field = runner.clock, self.field
        for group, base_value, schedule in self._targets:
            group[field] = schedule(base_value, clock)
