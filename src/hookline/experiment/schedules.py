"""The length of a run, and the schedules that drive its optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from hookline.config.checks import check_number
from hookline.config.errors import ConfigError, ParameterError
from hookline.config.instantiate import build, to_plain, told_at
from hookline.experiment.hooks import validates
from hookline.schedules import Clock, Curve, WarmUp
from hookline.schedules.quantities import WARMED_FROM_ABOVE, spellings

if TYPE_CHECKING:
    from hookline.engine import Hook

WARMUP = frozenset(inspect.signature(WarmUp).parameters) - {"curve", "inverse"}


def build_clock(cfg: DictConfig, iters_per_epoch: int) -> Clock:
    """Return the start of the run, whose length is `runner.max_epochs` or `runner.max_iters`."""
    epochs, iters = cfg.runner.max_epochs, cfg.runner.max_iters
    with told_at("runner"):
        if (epochs is None) == (iters is None):
            raise ParameterError("max_epochs", epochs, "given, or else max_iters, and not both")
        name = "max_iters" if epochs is None else "max_epochs"
        check_number(name, cfg.runner[name], gt=0, integer=True)
    return Clock.for_run(iters_per_epoch, max_epochs=epochs, max_iters=iters)


def schedule_nodes(cfg: DictConfig) -> dict[str, Mapping[str, Any]]:
    """Return the schedules' nodes by the parameter-group field that each drives.

    `lr_schedule` drives `lr`, and so does every other key of the config's root that ends in `_schedule` drive the field
    that it is named after. A group's option `none` drives nothing.
    """
    nodes = {str(key).removesuffix("_schedule"): cfg[key] for key in cfg if str(key).endswith("_schedule")}
    found = {}
    for field, node in nodes.items():
        if node is None:
            continue
        if not isinstance(node, Mapping | DictConfig):
            raise ConfigError(f"{field}_schedule={node}: must be a mapping with a _target_")
        if node.get("_target_", "missing") is not None:
            found[field] = node
        elif ignored := [key for key in node if key != "_target_"]:
            raise ConfigError(f"{field}_schedule.{ignored[0]}: has no effect without a schedule; choose an option")
    return found


def build_schedule(node: Mapping[str, Any], field: str, clock: Clock) -> Curve:
    """Return the curve of one parameter-group field in a run of this length.

    The warm-up keys (`warmup`, `warmup_iters`, ...) go to `WarmUp`, the others to the curve.

    Args:
        node: the config node: `_target_`, the curve's parameters and the warm-up's.
        field: what it drives: `lr`, `momentum`, `weight_decay`, ...
        clock: the start of the run.
    """
    key = f"{field}_schedule"
    plain = to_plain(node, key)
    warmup = {name: plain.pop(name) for name in WARMUP & plain.keys()}
    words = spellings(field)
    curve = build(plain, key, kind=Curve, wanted="a subclass of hookline.schedules.Curve", spellings=words)
    with told_at(key):
        try:
            return WarmUp(curve, **warmup, inverse=field in WARMED_FROM_ABOVE).for_run(clock)
        except ParameterError as error:
            raise error.respelled({name: word for word, name in words.items()}) from error


def build_schedules(cfg: DictConfig, clock: Clock) -> dict[str, Curve]:
    """Return the curves that drive the optimizer, by parameter-group field."""
    schedules = {}
    for field, node in schedule_nodes(cfg).items():
        monitor = str(node.get("monitor", ""))
        if monitor.startswith("val") and not validates(cfg):
            raise ConfigError(
                f"{field}_schedule.monitor={monitor}: must be train/loss in a run without validation; or choose"
                " evaluation=default"
            )
        schedules[field] = build_schedule(node, field, clock)
    return schedules


def followed(cfg: DictConfig) -> list[tuple[str, str]]:
    """Return the key of each schedule that follows a number, those in other schedules included, and the number."""
    return [found for field, node in schedule_nodes(cfg).items() for found in _followed(node, f"{field}_schedule")]


def _followed(node: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping | DictConfig):
        if isinstance(node.get("monitor"), str):
            yield key, node["monitor"]
        elif str(node.get("_target_", "")).endswith(".Plateau"):
            yield key, "val/loss"
        for name, child in node.items():
            yield from _followed(child, f"{key}.{name}")
    elif isinstance(node, Iterable) and not isinstance(node, str):
        for index, child in enumerate(node):
            yield from _followed(child, f"{key}[{index}]")


def check_hooks(cfg: DictConfig, hooks: Sequence[Hook]) -> None:
    """Raise `ConfigError` where no hook is left that follows the schedules."""
    from hookline.hooks.schedule import ScheduleHook

    if any(hook.name == "schedule" or isinstance(hook, ScheduleHook) for hook in hooks):
        return
    for field, node in schedule_nodes(cfg).items():
        if node.get("_target_") != "hookline.schedules.Fixed":
            raise ConfigError(
                f"hooks.schedule=null: must stay, as nothing else follows {field}_schedule; for a constant value choose"
                f" {field}_schedule={'fixed' if field == 'lr' else 'none'}"
            )
