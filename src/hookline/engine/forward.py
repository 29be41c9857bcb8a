"""From images to logits, as a run computes them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hookline.config.checks import check_bool, check_choice
from hookline.config.errors import ParameterError
from hookline.optim.shards import in_parts

PRECISIONS: dict[str, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}

# torch.compile's modes. Those that record CUDA graphs give the same memory for each call's result.
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
WITH_CUDA_GRAPHS = ("reduce-overhead", "max-autotune")


def resolve_precision(wanted: str, device: torch.device) -> str:
    """Return the number format for `auto` or its name: `auto` is bf16 on a GPU that computes in it, else fp32."""
    check_choice("precision", wanted, ["auto", *PRECISIONS])
    if wanted != "auto":
        return wanted
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"


class Forward:
    """A model's forward pass in the run's number format and memory order.

    It maps images `[B, C, H, W]` to logits `[B, classes]`. The logits are float32 whatever the format: losses and
    metrics are computed in it.

    Args:
        model: lies on the run's device.
        precision: `fp32`, or mixed `bf16` or `fp16` (`torch.autocast`); `auto`: see `resolve_precision`.
        channels_last: images and convolutions are kept in NHWC memory order; of a sharded model the images alone.
        compile: run the model through `torch.compile`: true, or one of its modes.

    Attributes:
        precision: the one that was chosen.
        compile: as it was given.
    """

    def __init__(
        self, model: nn.Module, *, precision: str = "fp32", channels_last: bool = False, compile: bool | str = False
    ) -> None:
        check_bool("channels_last", channels_last)
        if not isinstance(compile, bool) and compile not in COMPILE_MODES:
            raise ParameterError("compile", compile, f"true, false or one of {', '.join(COMPILE_MODES)}")
        self.device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self.precision = resolve_precision(precision, self.device)
        self.channels_last = channels_last
        # Weights in parts have one memory order, and are laid out anew by the kernels that want another.
        reorders = channels_last and not any(in_parts(parameter) for parameter in model.parameters())
        self.model = model.to(memory_format=torch.channels_last) if reorders else model
        self.compile = compile
        self._call = self._compiled(model)
        self._copies = compile in WITH_CUDA_GRAPHS
        dtype = PRECISIONS[self.precision]
        self._autocast = None if dtype is None else torch.autocast(self.device.type, dtype)

    def __call__(self, images: Tensor) -> Tensor:
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        if self._autocast is None:
            logits: Tensor = self._call(images)
        else:
            with self._autocast:
                logits = self._call(images).float()
        # The next call would write over what hooks and metrics keep.
        return logits.clone() if self._copies else logits

    def of(self, model: nn.Module) -> Forward:
        """Return the same forward pass of another model, such as an average of this one's weights; not compiled."""
        return Forward(model, precision=self.precision, channels_last=self.channels_last)

    def around(self, wrap: Callable[[nn.Module], nn.Module]) -> Forward:
        """Return the same forward pass of the model in a wrapper, such as torch's DistributedDataParallel."""
        found = copy.copy(self)
        found._call = self._compiled(wrap(self.model))
        return found

    def _compiled(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """Return what is called for the model: itself, or its compiled form."""
        if not self.compile:
            return model
        return torch.compile(model, mode=None if self.compile is True else self.compile)


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
