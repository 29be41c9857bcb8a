"""Batch norm over the samples of all processes."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import SyncBatchNormAct, convert_sync_batchnorm
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm


class _Sum(torch.autograd.Function):
    """The sum over the processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient


class SyncBatchNorm(_BatchNorm):
    """`torch.nn.SyncBatchNorm`, which has kernels for GPUs alone, for a CPU.

    `y = (x - m) / sqrt(v + eps) * weight + bias`, with the mean m and the variance v of each channel over the samples
    and places of all processes (Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167). A share may be empty.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Take images and vectors alike."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised images `[B, C, ...]`."""
        if not self.training:
            return super().forward(input)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        values = input.double()  # sums of float32 numbers would depend on the number of processes
        own = values.new_tensor([values.numel() / values.shape[1]])
        packed = _Sum.apply(torch.cat([values.sum(axes), own]))
        mean, count = packed[:-1] / packed[-1], packed[-1].detach()
        if count <= 1:
            raise ValueError("a batch norm needs more than one value for each channel in training")
        centred = values - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(axes)) / count
        self._note(mean.detach(), variance.detach() * count / (count - 1))
        found = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            found = found * self.weight.view(shape) + self.bias.view(shape)
        return found.to(input.dtype)

    def _note(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards these."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        step = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), step)
        self.running_var.lerp_(variance.to(self.running_var.dtype), step)


class SyncBatchNormActivation(SyncBatchNorm):
    """timm's batch norm with an activation behind it."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the activations `[B, C, ...]`."""
        return self.act(self.drop(super().forward(input)))  # type: ignore[operator]


ON_CPU: dict[type, type] = {nn.SyncBatchNorm: SyncBatchNorm, SyncBatchNormAct: SyncBatchNormActivation}


def with_sync_batchnorm(model: nn.Module) -> nn.Module:
    """Return the model with its batch norms over the samples of all processes; its parameters are the same objects.

    Args:
        model: lies on the run's device.
    """
    model = convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) in ON_CPU and next(model.parameters()).is_cpu:
            module.__class__ = ON_CPU[type(module)]
    return model


def has_sync_batchnorm(model: nn.Module) -> bool:
    """Say whether a batch norm of the model waits for all processes."""
    return any(isinstance(module, nn.SyncBatchNorm | SyncBatchNorm) for module in model.modules())
