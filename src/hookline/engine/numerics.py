"""How exactly, and how repeatably, a device computes."""

from __future__ import annotations

import os

import torch

from hookline.config.checks import check_bool
from hookline.config.errors import ParameterError


def set_numerics(*, deterministic: bool = False, tf32: bool = True, cudnn_benchmark: bool | str = "auto") -> None:
    """Set how this process computes from now on.

    All of it is set by each call, so that it depends on the newest call alone.

    Args:
        deterministic: the same input gives the same bits each time (`torch.use_deterministic_algorithms`); an operation
            that cannot do this fails. It must be set before CUDA computes anything: cuBLAS reads
            `CUBLAS_WORKSPACE_CONFIG` once.
        tf32: a GPU may round the factors of float32 matrix products and convolutions to 10 bits of mantissa (TF32).
        cudnn_benchmark: cuDNN times its algorithms for each new shape and takes the fastest, which need not be the same
            one in the next run; `auto`: unless `deterministic`.

    Raises:
        ParameterError: one of them is of another kind, or a choice by speed is asked for together with determinism.
    """
    check_bool("deterministic", deterministic)
    check_bool("tf32", tf32)
    if cudnn_benchmark != "auto" and not isinstance(cudnn_benchmark, bool):
        raise ParameterError("cudnn_benchmark", cudnn_benchmark, "auto, true or false")
    if cudnn_benchmark is True and deterministic:
        raise ParameterError("cudnn_benchmark", cudnn_benchmark, "auto or false with deterministic=true")
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    # It would fill all new memory with NaN, to find programs that read it before they write to it.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic if cudnn_benchmark == "auto" else bool(cudnn_benchmark)
    # By the older names of torch: where the newer ones were used, reading the older ones fails, as inductor does.
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
