"""What a model costs for one image: parameters, multiply-adds and activations, stage by stage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from hookline.engine.forward import evaluating

# What a model or a stage has that belongs to none of its parts, such as a position embedding.
REST = "(rest)"


@dataclass(frozen=True)
class Cost:
    """What a stage, or a whole model, costs for one image.

    Attributes:
        name: the module's name in the model.
        parameters: numbers in its parameters, shared ones once.
        macs: multiply-adds of its convolutions and matrix products, those of attention included. This is what papers
            report as "FLOPs"; as floating-point operations it is twice as much. Normalisation, activation functions,
            pooling and other operations on single elements are not counted.
        activations: numbers in the outputs of the same operations (Radosavovic et al., Designing Network Design
            Spaces, 2020, for convolutions; as in fvcore, matrix products are counted, too).
    """

    name: str
    parameters: int
    macs: int
    activations: int


def stage_costs(model: nn.Module, images: Tensor) -> list[Cost]:
    """Return the costs of the stages of a model in their order, of which the sum is the model's.

    A stage is a part of the model that was given a name in it. A sequence or list of parts that has more than half of
    the multiply-adds, such as `blocks` or `stages`, is taken apart once more. What none of them has is the last stage,
    `(rest)`. A stage without parameters and products is left out.

    Args:
        model: the model; it is put into eval mode meanwhile.
        images: one image `[1, C, H, W]` on the model's device.
    """
    macs = {name: count // 2 for name, count in _counted(model, images, {}).items()}
    activations = _counted(model, images, dict.fromkeys(flop_registry, _elements))
    total = Cost("", _numbers(model), macs.get("", 0), activations.get("", 0))
    stages = []
    for name, part in _stages(model, macs):
        stages.append(Cost(name, _numbers(part), _sum(name, part, macs), _sum(name, part, activations)))
    parameters, counted, elements = (
        getattr(total, field) - sum(getattr(stage, field) for stage in stages)
        for field in ("parameters", "macs", "activations")
    )
    stages.append(Cost(REST, parameters, counted, elements))
    return [stage for stage in stages if stage.parameters or stage.macs or stage.activations]


def total_cost(name: str, stages: list[Cost]) -> Cost:
    """Return the sum of the stages under this name."""
    return Cost(
        name,
        sum(stage.parameters for stage in stages),
        sum(stage.macs for stage in stages),
        sum(stage.activations for stage in stages),
    )


def _elements(*_: Any, out_shape: Any, **__: Any) -> int:
    return math.prod(out_shape)


def _counted(model: nn.Module, images: Tensor, mapping: Mapping[Any, Any]) -> dict[str, int]:
    """Return what torch's counter finds in a forward pass, by the module's name; the model's own name is empty."""
    counter = FlopCounterMode(display=False, custom_mapping=dict(mapping))
    with evaluating(model), torch.no_grad(), _products_seen(), counter:
        model(images)
    # The counter calls the model by its class.
    root = type(model).__name__
    return {
        "" if name == "Global" else name.removeprefix(f"{root}."): sum(counts.values())
        for name, counts in counter.get_flop_counts().items()
        if name != root
    }


@contextmanager
def _products_seen() -> Iterator[None]:
    """Let attention be computed as two matrix products: the fused kernels of a CPU are none that the counter knows."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _stages(model: nn.Module, macs: Mapping[str, int]) -> Iterator[tuple[str, nn.Module]]:
    for name, part in model.named_children():
        if type(part) in (nn.Sequential, nn.ModuleList) and 2 * _sum(name, part, macs) > macs.get("", 0):
            yield from ((f"{name}.{inner}", child) for inner, child in part.named_children())
        else:
            yield name, part


def _sum(name: str, part: nn.Module, counts: Mapping[str, int]) -> int:
    """Return a part's count; a list of modules is never called itself, and has those of its modules."""
    if name in counts:
        return counts[name]
    return sum(_sum(f"{name}.{inner}", child, counts) for inner, child in part.named_children())


def _numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
