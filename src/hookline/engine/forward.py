"""From images to logits, as a run computes them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hookline.config.checks import check_bool, check_choice

PRECISIONS: dict[str, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Forward:
    """A model's forward pass in the run's number format and memory order.

    It maps images `[B, C, H, W]` to logits `[B, classes]`. The logits are float32 whatever the format: losses and
    metrics are computed in it.

    Args:
        model: lies on the run's device.
        precision: `fp32`, or mixed `bf16` or `fp16` (`torch.autocast`).
        channels_last: images and convolutions are kept in NHWC memory order.
        compile: run the model through `torch.compile`.
    """

    def __init__(
        self, model: nn.Module, *, precision: str = "fp32", channels_last: bool = False, compile: bool = False
    ) -> None:
        check_choice("precision", precision, list(PRECISIONS))
        check_bool("channels_last", channels_last)
        check_bool("compile", compile)
        self.device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self.precision = precision
        self.channels_last = channels_last
        self.model = model.to(memory_format=torch.channels_last) if channels_last else model
        self.compile = compile
        self._call = torch.compile(model) if compile else model
        dtype = PRECISIONS[precision]
        self._autocast = None if dtype is None else torch.autocast(self.device.type, dtype)

    def __call__(self, images: Tensor) -> Tensor:
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        if self._autocast is None:
            logits: Tensor = self._call(images)
            return logits
        with self._autocast:
            return self._call(images).float()

    def of(self, model: nn.Module) -> Forward:
        """Return the same forward pass of another model, such as an average of this one's weights; not compiled."""
        return Forward(model, precision=self.precision, channels_last=self.channels_last)

    def around(self, wrap: Callable[[nn.Module], nn.Module]) -> Forward:
        """Return the same forward pass of the model in a wrapper, such as torch's DistributedDataParallel."""
        found = copy.copy(self)
        wrapped = wrap(self.model)
        found._call = torch.compile(wrapped) if self.compile else wrapped
        return found


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into eval mode, and each of its modules back into its own mode afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
