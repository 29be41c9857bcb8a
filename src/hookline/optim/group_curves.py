"""A schedule's curve for each parameter group, and whether it fits the groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hookline.config.errors import ConfigError, ParameterError
from hookline.config.instantiate import parameter_error
from hookline.schedules import Clock, Curve, WarmUp
from hookline.schedules.moments import moments
from hookline.schedules.quantities import WARMED_FROM_ABOVE, spellings

# Fields that a schedule drives even from a base of 0; any other stays 0 there.
DRIVEN_FROM_ZERO = ("lr", "momentum")
# Fields that no optimizer can use below 0.
NEVER_NEGATIVE = ("lr", "weight_decay")


def curves_of_groups(schedule: Curve, field: str, count: int) -> list[Curve]:
    """Return the curves of `count` parameter groups, of the schedule that drives their key `field`."""
    try:
        return [schedule.for_group(index, count) for index in range(count)]
    except ParameterError as error:
        raise _told(field, error) from error


def check_schedules(schedules: Mapping[str, Curve], bases: Mapping[str, Mapping[str, float]], clock: Clock) -> None:
    """Raise `ConfigError` where a schedule does not fit the parameter groups that it drives.

    Args:
        schedules: the curves by the field that each drives.
        bases: by field, the base value of every parameter group by the group's name.
        clock: the start of the run.
    """
    for field, schedule in schedules.items():
        if bases.get(field):  # a field that the optimizer lacks is the schedule hook's to refuse
            check_schedule(schedule, field, list(bases[field].values()), clock)


def check_schedule(schedule: Curve, field: str, bases: Sequence[float], clock: Clock) -> None:
    """Raise `ConfigError` where a schedule gives a value that the field cannot have, or drives nothing.

    Args:
        schedule: what drives the groups, ready for its run.
        field: the key of the groups that it drives: `lr`, `momentum`, `weight_decay`, ...
        bases: each group's base value.
        clock: the start of the run.
    """
    if field not in DRIVEN_FROM_ZERO and not any(bases):
        raise ConfigError(
            f"{field}_schedule: {field} is 0 in every parameter group, and 0 stays 0; set optimizer.{field}, or choose"
            f" {field}_schedule=none"
        )
    pairs = zip(curves_of_groups(schedule, field, len(bases)), bases, strict=True)
    try:
        for name, floor in schedule.floors().items():
            base = max(bases) * floor.factor
            if floor.value > base:
                raise ParameterError(name, floor.value, f"at most the base value, which is {base:g}")
        for curve, base in {(id(curve), base): (curve, base) for curve, base in pairs}.values():
            _check_values(curve, field, base, clock)
    except ParameterError as error:
        raise _told(field, error) from error


def _check_values(curve: Curve, field: str, base: float, clock: Clock) -> None:
    below_one = field in WARMED_FROM_ABOVE
    lowest = 0 if below_one or field in NEVER_NEGATIVE else -math.inf
    for moment in moments(clock):
        value = curve(base, moment)
        if math.isfinite(value) and value >= lowest and (not below_one or value < 1):
            continue
        if below_one and isinstance(curve, WarmUp) and moment.iter < curve.end and 0 <= base < 1:
            raise ParameterError(
                "warmup_ratio",
                curve.warmup_ratio,
                f"larger, so that the {field} stays below 1: it is divided by the ratio, which gives {value:g}",
            )
        bounds = "at least 0 and below 1" if below_one else "finite" if lowest else "finite and at least 0"
        raise ConfigError(
            f"{field}_schedule: gives a {field} of {value:g} in iteration {moment.iter + 1}; it must stay {bounds}"
        )


def _told(field: str, error: ParameterError) -> ConfigError:
    words = {name: key for key, name in spellings(field).items()}
    return parameter_error(f"{field}_schedule", error.respelled(words))
