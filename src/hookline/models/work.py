"""How much a model computes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from hookline.models.unchanged import attributes_kept

log = logging.getLogger(__name__)


def flops_per_layer(model: nn.Module, shape: Sequence[int]) -> float | None:
    """Return the FLOPs of a forward pass over images of this shape `[B, C, H, W]`, for an average layer.

    Nothing is computed: the pass is made with tensors that have shapes and no numbers. What has a weight of two or more
    dimensions counts as a layer, be it a convolution or linear. None is returned for a model that needs numbers.
    """
    tensors = [*model.named_parameters(), *model.named_buffers()]
    layers = sum(parameter.ndim > 1 for parameter in model.parameters())
    try:
        with attributes_kept(model.modules()), torch.no_grad(), FlopCounterMode(display=False) as counter:
            empty = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}
            functional_call(model, empty, torch.empty(*shape, device="meta"))
    except Exception as error:  # whatever a model does that looks at its numbers
        log.debug("the model's work is not known: %s: %s", type(error).__name__, error)
        return None
    return counter.get_total_flops() / layers if layers else None
