"""Device and number format of a run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from hookline.config.checks import check_choice
from hookline.config.errors import ParameterError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS: dict[str, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """Return the device for `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`."""
    base, _, index = name.partition(":")
    if base not in DEVICES or (index and not (base == "cuda" and index.isdigit())):
        check_choice("device", name, DEVICES)
    if base == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if base == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ParameterError(
            "device", name, f"auto or cpu: this machine has {torch.cuda.device_count()} CUDA device(s)"
        )
    return torch.device(name)


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Return the context in which a forward pass runs under `precision`: fp32, or mixed bf16 or fp16."""
    check_choice("precision", precision, list(PRECISIONS))
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
