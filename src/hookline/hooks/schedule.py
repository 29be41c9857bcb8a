"""Set parameter-group fields from their schedules before every iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hookline.config.errors import ConfigError, ParameterError
from hookline.config.instantiate import parameter_error
from hookline.engine import Hook, Priority, Runner
from hookline.optim.group_curves import DRIVEN_FROM_ZERO, curves_of_groups
from hookline.optim.group_values import group_names, momentum_field
from hookline.schedules import Curve


class Target(NamedTuple):
    """What a schedule sets: a group's key, at `place` where it holds a tuple, from `base` along `curve`."""

    name: str
    group: dict[str, Any]
    key: str
    place: int | None
    base: float
    curve: Curve

    @property
    def value(self) -> float:
        """The value that the group has now."""
        return self.group[self.key] if self.place is None else self.group[self.key][self.place]


class ScheduleHook(Hook):
    """Drive the optimizer's parameter groups by `runner.schedules`, each group from its own base value.

    The base value is what the optimizer was built with. `momentum` is the group's `momentum`, or the first of its
    `betas`. Any other field is driven as it is named; a group in which it is 0 keeps it 0, so that parameters without
    weight decay stay without.
    """

    priority = Priority.VERY_HIGH

    def before_run(self, runner: Runner) -> None:
        groups = runner.optimizer.param_groups
        self._targets: list[Target] = []
        for field, schedule in runner.schedules.items():
            curves = curves_of_groups(schedule, field, len(groups))
            for name, group, curve in zip(group_names(runner.optimizer), groups, curves, strict=True):
                key, place = _place(field, group, runner.optimizer)
                base = group[key] if place is None else group[key][place]
                if base != 0 or field in DRIVEN_FROM_ZERO:
                    self._targets.append(Target(f"{field}/{name}", group, key, place, base, curve))

    def before_train_iter(self, runner: Runner) -> None:
        clock = runner.clock
        for name, group, key, place, base, curve in self._targets:
            try:
                value = curve(base, clock)
            except ParameterError as error:
                raise parameter_error(f"{name.partition('/')[0]}_schedule", error) from error
            if place is None:
                group[key] = value
            else:
                group[key] = _with(group[key], place, value)

    def state_dict(self) -> dict[str, Any]:
        """Return the values that the last update used: an epoch's end may still want to log them."""
        return {target.name: target.value for target in self._targets}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for target in self._targets:
            value = state.get(target.name, target.base)
            group, key, place = target.group, target.key, target.place
            group[key] = value if place is None else _with(group[key], place, value)


def _with(values: Sequence[float], place: int, value: float) -> tuple[float, ...]:
    return (*values[:place], value, *values[place + 1 :])


def _place(field: str, group: dict[str, Any], optimizer: object) -> tuple[str, int | None]:
    place = momentum_field(group) if field == "momentum" else (field, None) if field in group else None
    if place is None:
        has = "neither momentum nor betas" if field == "momentum" else f"no {field}"
        raise ConfigError(
            f"{field}_schedule: {type(optimizer).__name__} has {has} to schedule; choose {field}_schedule=none"
        )
    return place
