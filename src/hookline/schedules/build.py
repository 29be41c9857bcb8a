"""From a schedule's config node to the curve of one quantity in one run."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from pkgutil import resolve_name
from typing import Any

from hookline.config.errors import ConfigError, ParameterError
from hookline.config.instantiate import build, parameter_error, to_plain
from hookline.schedules.clock import Clock
from hookline.schedules.curve import Curve
from hookline.schedules.warmup import WarmUp

WARMUP_KEYS = frozenset(inspect.signature(WarmUp).parameters) - {"curve", "inverse"}

# Momentum is warmed up from above, as in MMCV: see `WarmUp.inverse`.
WARMED_FROM_ABOVE = frozenset({"momentum"})


def build_schedule(node: Mapping[str, Any], key: str, clock: Clock, quantity: str = "lr") -> Curve:
    """Return the schedule that `node` describes, checked against the run's length.

    The warm-up keys (`warmup`, `warmup_iters`, ...) go to `WarmUp`, the others to the curve, which calls the scheduled
    quantity `value`: `min_lr` in a learning-rate schedule and `min_momentum` in a momentum schedule are both the
    curve's `min_value`.

    Args:
        node: the config node: `_target_`, the curve's parameters and the warm-up's.
        key: where the node stands in the config, for messages.
        clock: the start of the run.
        quantity: the parameter-group field that it drives: `lr`, `momentum`, `weight_decay`.
    """
    plain = to_plain(node, key)
    warmup = {name: plain.pop(name) for name in WARMUP_KEYS & plain.keys()}
    try:
        curve = build(_generic(plain, quantity), key)
        if not isinstance(curve, Curve):
            raise ConfigError(f"{key}._target_={plain['_target_']}: must name a subclass of hookline.schedules.Curve")
        try:
            return WarmUp(curve, **warmup, inverse=quantity in WARMED_FROM_ABOVE).for_run(clock)
        except ParameterError as error:
            raise parameter_error(key, error) from error
    except ConfigError as error:
        raise _in_words_of(quantity, error) from error


def for_groups(schedule: Curve, key: str, count: int, quantity: str = "lr") -> list[Curve]:
    """Return the schedule of each of `count` parameter groups; `key` and `quantity` as in `build_schedule`."""
    try:
        return [schedule.for_group(index, count) for index in range(count)]
    except ParameterError as error:
        raise _in_words_of(quantity, parameter_error(key, error)) from error


def _generic(value: Any, quantity: str) -> Any:
    """Return the node with the quantity's name replaced by `value` in the keys of curves, nested ones included."""
    if isinstance(value, Mapping):
        own = _parameters_of(value.get("_target_"))
        renamed = {}
        for name, child in value.items():
            generic = name.replace(f"_{quantity}", "_value")
            renamed[generic if generic in own else name] = _generic(child, quantity)
        return renamed
    return [_generic(child, quantity) for child in value] if isinstance(value, list) else value


def _parameters_of(target: object) -> Collection[str]:
    try:
        return inspect.signature(resolve_name(target)).parameters if isinstance(target, str) else ()
    except Exception:  # none that can be imported: `build` will say so
        return ()


def _in_words_of(quantity: str, error: ConfigError) -> ConfigError:
    return ConfigError(str(error).replace("_value", f"_{quantity}"))
