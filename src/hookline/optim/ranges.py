"""What the arguments of optimizers may be. Libraries check some of them, and some in the first step only."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from hookline.config.checks import check_bool, check_choice, check_number
from hookline.config.errors import ConfigError, ParameterError

# Bounds that hold for an argument of this name in every optimizer that has it; of each number where there are several.
Bounds = dict[str, Any]
NOT_NEGATIVE: Bounds = {"ge": 0}
POSITIVE: Bounds = {"gt": 0}
DECAY: Bounds = {"ge": 0, "lt": 1}
SHARE: Bounds = {"ge": 0, "le": 1}
COUNT: Bounds = {"gt": 0, "integer": True}
BOUNDS: dict[str, Bounds] = {
    "adamw_lr": NOT_NEGATIVE,
    "alpha": SHARE,
    "beta2_cap": DECAY,
    "beta2_decay": {"le": 0},
    "betas": DECAY,
    "betas_1d": DECAY,
    "clip_exp": SHARE,
    "clipping_threshold": POSITIVE,
    "d": {"ge": 1},
    "dampening": SHARE,
    "decay_offset": {"ge": 0, "integer": True},
    "decay_rate": SHARE,
    "delta": NOT_NEGATIVE,
    "eps": POSITIVE,  # a parameter whose gradients are 0 becomes 0 / 0 without it
    "etas": POSITIVE,
    "fallback_lr_scale": NOT_NEGATIVE,
    "gamma": NOT_NEGATIVE,
    "initial_accumulator_value": NOT_NEGATIVE,
    "lambd": NOT_NEGATIVE,
    "lr": NOT_NEGATIVE,
    "lr_1d_factor": NOT_NEGATIVE,
    "lr_decay": NOT_NEGATIVE,
    "max_grad_norm": POSITIVE,
    "min_dim_size_to_factor": COUNT,
    "momentum": DECAY,
    "momentum_decay": NOT_NEGATIVE,
    "ns_steps": {"gt": 0, "lt": 100, "integer": True},  # as torch's Muon has it
    "rho": DECAY,
    "safety_factor": POSITIVE,
    "step_sizes": POSITIVE,
    "t0": NOT_NEGATIVE,
    "trust_coeff": POSITIVE,
    "wd_ratio": SHARE,
    "weight_decay": NOT_NEGATIVE,
}
# Bounds of one class that differ from these.
BOUNDS_OF: dict[str, dict[str, Bounds]] = {
    "Lars": {"eps": NOT_NEGATIVE},
    "RMSprop": {"alpha": DECAY},
    "RMSpropTF": {"alpha": DECAY},
}
# Arguments that are several numbers; Adafactor's eps is two, of which the second only bounds the step from below.
SEVERAL = frozenset({"betas", "betas_1d", "etas", "step_sizes"})
CHOICES = {
    "adjust_lr_fn": ["original", "match_rms_adamw", "rms_to_rms", "rsqrt_in"],
    "algo": ["muon", "adamuon"],
    "conv_mode": ["flatten", "batched"],
    "mars_type": ["adamw", "lion"],
}
FLAGS = frozenset(
    {
        *("amsgrad", "bias_correction", "capturable", "caution", "centered", "corrected_weight_decay", "decoupled"),
        *("decoupled_decay", "decoupled_weight_decay", "degenerated_to_sgd", "differentiable", "fixed_decay"),
        *("foreach", "fused", "grad_averaging", "lr_in_momentum", "maximize", "nesterov", "no_prox", "optimize_1d"),
        *("rectify", "scale_eps", "trust_clip", "unscaled_wd", "always_adapt", "normalize_spatial"),
    }
)


def check_arguments(target: Callable[..., Any], arguments: Mapping[str, Any], parameters: Iterable[Tensor]) -> None:
    """Raise `ParameterError` where an optimizer would be given what it cannot have, or what cannot be used here.

    Args:
        target: the optimizer's class.
        arguments: by their names; what the class does not take is left for others to find.
        parameters: what it is to train.
    """
    taken, own = inspect.signature(target).parameters, BOUNDS_OF.get(getattr(target, "__name__", ""), {})
    for name, value in arguments.items():
        if name in taken and value is not None:
            _check(name, value, own.get(name) or BOUNDS.get(name))
    _check_pairs(arguments)
    if arguments.get("differentiable") is True:
        raise ParameterError("differentiable", True, "false: no gradient goes through an update")
    if arguments.get("capturable") is True and any(parameter.device.type == "cpu" for parameter in parameters):
        raise ParameterError("capturable", True, "false on the CPU: it is for CUDA graphs")


def refuse_sparse(target: Callable[..., Any], name: str) -> None:
    """Raise `ConfigError` for an optimizer that takes sparse gradients only."""
    if inspect.isclass(target) and issubclass(target, torch.optim.SparseAdam):
        raise ConfigError(
            f"optimizer._target_={name}: cannot be used. It takes sparse gradients, and those of an image classifier"
            " are dense; optimizer=adam is the same for them"
        )


def _check(name: str, value: Any, bounds: Bounds | None) -> None:
    if name == "eps" and isinstance(value, list | tuple):
        for number, bound in zip(value, (POSITIVE, NOT_NEGATIVE), strict=False):
            if number is not None:
                check_number(name, number, **bound)
    elif name == "ns_coefficients":
        for number in _numbers(value):
            check_number(name, number)
    elif bounds is not None:
        if name in SEVERAL and not isinstance(value, list | tuple):
            raise ParameterError(name, value, "a list of numbers, such as [0.9, 0.99]")
        for number in value if name in SEVERAL else [value]:
            if number is not None:
                check_number(name, number, **bounds)
    elif name in CHOICES:
        check_choice(name, value, CHOICES[name])
    elif name in FLAGS:
        check_bool(name, value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ParameterError(name, value, "a finite number")


def _check_pairs(arguments: Mapping[str, Any]) -> None:
    """Check what holds of Rprop's two factors, and of the two bounds of its steps."""
    etas, sizes = arguments.get("etas") or (0.5, 1.2), arguments.get("step_sizes") or (0, 1)
    if len(etas) == 2 and not etas[0] < 1 < etas[1]:
        raise ParameterError("etas", etas, "a number below 1 and one above it, such as [0.5, 1.2]")
    if len(sizes) == 2 and not sizes[0] < sizes[1]:
        raise ParameterError("step_sizes", sizes, "the smallest step and a larger one, such as [1e-6, 50]")


def _numbers(value: Any) -> Iterator[Any]:
    """Yield what stands in a list and in the lists in it; nothing for a name."""
    if isinstance(value, list | tuple):
        for child in value:
            yield from _numbers(child)
    elif not isinstance(value, str):
        yield value
