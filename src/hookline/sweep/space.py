"""The space of a search: what Hydra's grammar says of values, as distributions of Optuna."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from hookline.config.errors import ConfigError, reason_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def space_of(overrides: Sequence[Override]) -> tuple[dict[str, BaseDistribution], list[str]]:
    """Return the distributions of the keys with several values, and the other overrides.

    Values with commas between them, and `choice` and `glob`, are categories; `range` is a grid of numbers without its
    end, `interval` all numbers between two, `int(interval(1, 9))` the integers among them. `tag(log, ...)` draws the
    logarithm of an interval evenly.

    Raises:
        ConfigError: what is said of a key is no such thing.
    """
    space: dict[str, BaseDistribution] = {}
    fixed: dict[str, str] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            value = "" if override.is_delete() else f"={override.get_value_element_as_str()}"
            fixed[key] = f"{key}{value}"
            space.pop(key, None)
            continue
        try:
            space[key] = _distribution(override)
            fixed.pop(key, None)
        except ValueError as error:
            raise ConfigError(f"{override.input_line}: {reason_of(error)}") from error
    return space, list(fixed.values())


def written(key: str, value: Any) -> str:
    """Return the override that gives a key a value of its distribution.

    A category is written as it was given, a number with a fraction to four digits: more say nothing, and are in the
    name of the job's folder.
    """
    return f"{key}={float(f'{value:.4g}') if isinstance(value, float) else value}"


def first_of(space: Mapping[str, BaseDistribution]) -> list[str]:
    """Return the overrides of one point of a space."""
    from optuna.distributions import CategoricalDistribution

    return [
        written(key, one.choices[0] if isinstance(one, CategoricalDistribution) else one.low)  # type: ignore[attr-defined]
        for key, one in space.items()
    ]


def _distribution(override: Override) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        log = "log" in value.tags
        if isinstance(value.start, int) and isinstance(value.end, int):
            return IntDistribution(value.start, value.end, log=log)
        return FloatDistribution(value.start, value.end, log=log)
    if isinstance(value, RangeSweep):
        numbers = value.range()
        count = math.ceil((float(value.stop or 0) - float(value.start or 0)) / float(value.step))
        if count < 1:
            raise ValueError("has no values")
        if isinstance(numbers, range):
            low, high = sorted((numbers[0], numbers[-1]))
            return IntDistribution(low, high, step=abs(numbers.step))
        ends = float(value.start or 0), float(value.start or 0) + (count - 1) * float(value.step)
        return FloatDistribution(min(ends), max(ends), step=abs(float(value.step)))
    assert isinstance(value, ChoiceSweep) or override.is_discrete_sweep()
    return CategoricalDistribution(list(dict.fromkeys(override.sweep_string_iterator())))
