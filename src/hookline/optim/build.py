"""From the `optimizer` node and a model's parameter groups to an optimizer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ConfigError
from hookline.config.instantiate import build, check_node, locate, to_plain, told_at
from hookline.optim.kernels import choose_kernel, start_momentum
from hookline.optim.ranges import check_arguments, refuse_sparse

KEY = "optimizer"


class BaseValues(NamedTuple):
    """What an optimizer starts every parameter from; None where it has no such parameter."""

    lr: float | None
    weight_decay: float | None


def base_values(node: Mapping[str, Any]) -> BaseValues:
    """Return the node's learning rate and weight decay, the class's defaults where the node has none."""
    plain = to_plain(node, KEY)
    parameters = inspect.signature(locate(plain.get("_target_"), KEY)).parameters

    def value(name: str) -> float | None:
        given = plain.get(name, parameters[name].default if name in parameters else None)
        return float(given) if isinstance(given, int | float) and not isinstance(given, bool) else None

    return BaseValues(value("lr"), value("weight_decay"))


def build_optimizer(
    node: Mapping[str, Any],
    model: nn.Module,
    constructor: Mapping[str, Any] | None = None,
    *,
    lr_scale: float = 1.0,
    option: Mapping[str, Any] | None = None,
) -> Optimizer:
    """Return the optimizer that `node` describes, over the groups that the `param_groups` node makes.

    Args:
        node: the `optimizer` node.
        model: whose parameters are trained; those that do not require a gradient are left out.
        constructor: the `param_groups` node: builds a callable `(model, lr, weight_decay) -> groups`. None: one group.
        lr_scale: a factor on the node's learning rate.
        option: the group's option that `node` was made from. Where `node` names another class, what `option` brought
            along and that class does not take is left out.
    """
    plain = to_plain(node, KEY)
    target = locate(plain.get("_target_"), KEY)
    if not isinstance(target, type) or not issubclass(target, Optimizer) or target is Optimizer:
        raise ConfigError(f"{KEY}._target_={plain['_target_']}: must name a subclass of torch.optim.Optimizer")
    if option is not None and option.get("_target_") != plain["_target_"]:
        plain = _without_leftovers(plain, target, option)
    _refuse_closure(target, plain["_target_"])
    refuse_sparse(target, plain["_target_"])
    check_node(plain, KEY, {"params": None})
    with told_at(KEY):
        check_arguments(target, plain, model.parameters())
    base = base_values(plain)
    if lr_scale != 1.0 and base.lr is not None:
        plain["lr"] = base.lr * lr_scale
        base = base._replace(lr=plain["lr"])
    if next(model.parameters(), None) is None:
        raise ConfigError(f"model: {type(model).__name__} has no parameters; there is nothing to train")
    if not any(p.requires_grad for p in model.parameters()):
        raise ConfigError("freeze: all parameters of the model are frozen; nothing is left to train")
    groups = make_groups(model, constructor or {"_target_": "hookline.optim.param_groups.Plain"}, base)
    plain |= choose_kernel(target, plain, [p for group in groups for p in group["params"]])
    optimizer: Optimizer = build(plain, KEY, kind=Optimizer, params=groups)
    start_momentum(optimizer)
    return optimizer


def lr_note(optimizer: Optimizer) -> str | None:
    """Return what must be known of how this optimizer uses its learning rate, None if it uses it as it is set."""
    if isinstance(optimizer, torch.optim.Rprop):
        return "Rprop looks at its learning rate in its first step only: no schedule of it has an effect"
    if isinstance(optimizer, torch.optim.ASGD):
        return "ASGD uses the learning rate of the iteration before the one that it is logged for"
    return None


def make_groups(model: nn.Module, constructor: Mapping[str, Any], base: BaseValues) -> list[dict[str, Any]]:
    """Return the parameter groups, each with a `name` and at least one parameter."""
    build_groups = build(constructor, "param_groups")
    if not callable(build_groups):
        raise ConfigError(
            f"param_groups._target_={constructor['_target_']}: must build something callable with"
            " (model, lr, weight_decay)"
        )
    with told_at("param_groups"):
        groups = [dict(group) for group in build_groups(model, base.lr, base.weight_decay)]
    for index, group in enumerate(groups):
        group["params"] = list(group["params"])
        group.setdefault("name", f"group{index}")
    return [group for group in groups if group["params"]]


def lr_scale(batch_size: int, base_batch_size: int | None = None, rule: str = "linear") -> float:
    """Return the factor that fits a learning rate, tuned at `base_batch_size`, to `batch_size` samples per update.

    `linear`: batch_size / base_batch_size (Goyal et al., 2017); `sqrt`: its root (Krizhevsky, 2014). Without a
    `base_batch_size` it is 1.
    """
    check_choice("rule", rule, ["linear", "sqrt"])
    if base_batch_size is None:
        return 1.0
    check_number("base_batch_size", base_batch_size, gt=0, integer=True)
    ratio = batch_size / base_batch_size
    return ratio if rule == "linear" else math.sqrt(ratio)


def _without_leftovers(node: Mapping[str, Any], target: Any, option: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(target).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(node)
    taken = {p.name for p in parameters} | {"_target_"}
    return {key: value for key, value in node.items() if key in taken or key not in option or value != option[key]}


def _refuse_closure(target: Any, name: str) -> None:
    step = getattr(target, "step", None)
    try:
        closure = inspect.signature(step).parameters.get("closure") if step is not None else None
    except (TypeError, ValueError):
        return
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ConfigError(
            f"{KEY}._target_={name}: cannot be used. Its step() must be given a"
            " closure that computes the loss again, several times in one update; one iteration here is one forward pass"
            " and one update. Use an optimizer whose step() takes no closure, or an optional one"
        )
