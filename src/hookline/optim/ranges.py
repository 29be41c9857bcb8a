"""What the arguments of optimizers may be. Libraries check some of them, and some in the first step only."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
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
    "clipping_threshold": POSITIVE,
    "d": POSITIVE,
    "dampening": SHARE,
    "decay_offset": {"ge": 0, "integer": True},
    "decay_rate": SHARE,
    "delta": NOT_NEGATIVE,
    "eps": NOT_NEGATIVE,
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
    "ns_steps": COUNT,
    "rho": DECAY,
    "safety_factor": POSITIVE,
    "step_sizes": POSITIVE,
    "t0": NOT_NEGATIVE,
    "trust_coeff": POSITIVE,
    "wd_ratio": SHARE,
    "weight_decay": NOT_NEGATIVE,
}
# Arguments that are several numbers; Adafactor's eps is two.
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
    taken = inspect.signature(target).parameters
    for name, value in arguments.items():
        if name in taken and value is not None:
            _check(name, value)
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


def _check(name: str, value: Any) -> None:
    if name in BOUNDS:
        if name in SEVERAL and not isinstance(value, list | tuple):
            raise ParameterError(name, value, "a list of numbers, such as [0.9, 0.99]")
        several = name in SEVERAL or (name == "eps" and isinstance(value, list | tuple))
        for number in value if several else [value]:
            if number is not None:
                check_number(name, number, **BOUNDS[name])
    elif name in CHOICES:
        check_choice(name, value, CHOICES[name])
    elif name in FLAGS:
        check_bool(name, value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ParameterError(name, value, "a finite number")
