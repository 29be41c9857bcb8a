"""An update that several processes compute together, each of which keeps a part of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from hookline.config.checks import check_bool, check_choice
from hookline.config.errors import ConfigError, ParameterError
from hookline.engine.ddp import DataParallel
from hookline.engine.forward import PRECISIONS, Forward, resolve_precision
from hookline.engine.processes import Processes
from hookline.optim.shards import laid_out_as

# They hold modules and are never called themselves.
HOLDERS = (nn.ModuleList, nn.ModuleDict)

# Optimizers that choose by a parameter's own numbers what to compute, so that processes would wait for one another, or
# that torch cannot compute from parts.
WHOLE = ("AdamP", "SGDP", "Adafactor", "AdafactorBigVision", "Mars", "Rprop")


class ShardedDataParallel(DataParallel):
    """Each process keeps a part of each parameter, of its gradient and of what the optimizer keeps of it.

    This is torch's `fully_shard` (Zhao et al., 2023, https://arxiv.org/abs/2304.11277): the processes gather the
    parameters of a block for the time of its forward and of its backward pass, and sum the gradients in parts. A block
    is a unit of this, and what is in none of them is one more. What an update does is otherwise what `DataParallel`
    does, and so is the run.

    Args:
        processes: which of how many processes this one is.
        sync_batchnorm: see `DataParallel`.
        precision: what parameters are gathered in: that of the forward pass, which halves what processes send to one
            another. Those of a block with batch norms, which need float32, are gathered in that. Gradients are summed
            in float32.
        activation_checkpointing: forget what a block computes within, and compute it again in the backward pass.
    """

    sharded = True

    def __init__(
        self,
        *,
        processes: Processes,
        sync_batchnorm: bool = False,
        precision: str = "fp32",
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__(processes=processes, sync_batchnorm=sync_batchnorm)
        check_choice("precision", precision, ["auto", *PRECISIONS])
        check_bool("activation_checkpointing", activation_checkpointing)
        self.precision = precision
        self.activation_checkpointing = activation_checkpointing

    def prepare(self, model: nn.Module) -> nn.Module:
        """Return the model with sharded parameters; a copy of it (`copy.deepcopy`) is sharded, too.

        Raises:
            ParameterError: there is nothing whose activations could be forgotten, or batch norms would count twice.
        """
        model = super().prepare(model)
        self.in_step = True  # each pass gathers parameters from all processes
        self.agree(model)
        with torch.no_grad():
            self.processes.copy_first(list(model.parameters()))
        if self.activation_checkpointing:
            if not (found := blocks(model)):
                raise ParameterError("activation_checkpointing", True, "false: the model has no blocks that are alike")
            if any(_has_batch_norms(block) for block in found):
                raise ParameterError(
                    "activation_checkpointing", True, "false: batch norms in the blocks would count each batch twice"
                )
        device = next(model.parameters()).device
        self.precision = resolve_precision(self.precision, device)
        self._shard(model, init_device_mesh(device.type, (self.processes.count,)))
        assert isinstance(model, FSDPModule)
        self._model = model
        return model

    def check(self, optimizer: torch.optim.Optimizer, clip: tuple[str, float] | None, norm_type: float) -> None:
        """Raise `ConfigError` where an optimizer, or a way to clip gradients, needs whole parameters."""
        if type(optimizer).__name__ in WHOLE:
            raise ConfigError(
                f"optimizer: {type(optimizer).__name__} needs whole parameters, of which distributed=fsdp has parts;"
                " choose another, such as adamw, or distributed=ddp"
            )
        if clip is not None and clip[0] == "agc":
            raise ParameterError("grad_clip.agc", clip[1], "null with distributed=fsdp, which has parts of each unit")
        if norm_type == math.inf:  # torch has no largest number of a part that is empty
            expected = "a number with distributed=fsdp, where a process's part of a small parameter may be empty"
            raise ParameterError("grad_clip.norm_type", norm_type, expected)

    def training(self, forward: Forward) -> Forward:
        """Return the forward pass, which gathers and reduces by itself."""
        return forward

    def reducing(self, last: bool) -> AbstractContextManager[Any]:
        """Return the context of a micro-batch's forward and backward pass; the `last` one's reduces the gradients."""
        self._model.set_requires_gradient_sync(last)
        return nullcontext()

    def check_gradients(self, model: nn.Module) -> None:
        """Accept parameters without a gradient, as long as they have none in all processes."""

    def _shard(self, model: nn.Module, mesh: DeviceMesh) -> None:
        """Shard the parameters of a model in place."""
        # Copies are made from one without parameters, since a sharded one cannot be copied.
        bare = {
            id(p): nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=p.requires_grad)
            for p in model.parameters()
        }
        blank = deepcopy(model, bare)
        units = [*blocks(model), model]
        for unit in units:
            if self.activation_checkpointing and unit is not model:
                unit.forward = partial(checkpoint, unit.forward, use_reentrant=False)
            dtype = None if _has_batch_norms(unit) else PRECISIONS[self.precision]
            # Autocast decides what is computed in which format, as it does in one process.
            policy = MixedPrecisionPolicy(dtype, torch.float32 if dtype else None, cast_forward_inputs=False)
            # Parameters are parts at any moment between two passes, so that whoever looks sees the same.
            fully_shard(unit, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
        model.register_load_state_dict_pre_hook(_take_parts)
        model.__deepcopy__ = partial(self._copy, model, blank, mesh)  # type: ignore[assignment]

    def _copy(self, model: nn.Module, blank: nn.Module, mesh: DeviceMesh, memo: Mapping[int, Any]) -> nn.Module:
        found = deepcopy(blank)
        self._shard(found, mesh)
        found.load_state_dict({name: value.detach().clone() for name, value in model.state_dict().items()}, assign=True)
        for copied, own in zip(found.modules(), model.modules(), strict=True):
            copied.training = own.training
        for parameter, trained in zip(found.parameters(), model.parameters(), strict=True):
            parameter.requires_grad_(trained.requires_grad)
        return found


def blocks(model: nn.Module) -> list[nn.Module]:
    """Return the blocks of a model: what stands in a list or a sequence, is made of modules and has no blocks within.

    That is each block of a ViT, a ConvNeXt or a ResNet of timm, for example.
    """
    found: list[nn.Module] = []

    def search(module: nn.Module, listed: bool) -> bool:
        """Say whether a module has blocks, or is one."""
        holds = isinstance(module, nn.Sequential | nn.ModuleList)
        within = [search(child, holds) for child in module.children()]
        if any(within):
            return True
        trained = next(module.parameters(), None) is not None
        if listed and within and trained and not isinstance(module, HOLDERS):
            found.append(module)
            return True
        return False

    search(model, False)
    return found


def _has_batch_norms(module: nn.Module) -> bool:
    return any(isinstance(child, _BatchNorm) for child in module.modules())


def _take_parts(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Let a sharded model load whole tensors: each process takes its part of them."""
    for name, own in module.state_dict().items():
        if prefix + name in state:
            state[prefix + name] = laid_out_as(own, state[prefix + name])
