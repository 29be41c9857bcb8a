"""Optimizer and update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from hookline.config.instantiate import build, to_plain, told_at

# Keys of the group `distributed` that say how processes are started; the others are about what they share.
LAUNCHING = frozenset({"processes", "backend", "timeout", "silence"})
DATA_PARALLEL = "hookline.engine.ddp.DataParallel"

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hookline.engine import Forward, Update
    from hookline.engine.alone import Alone
    from hookline.engine.processes import Processes
    from hookline.optim.freeze import Freeze


def lr_factor(cfg: DictConfig) -> float:
    """Return what `auto_scale_lr` multiplies the optimizer's learning rate by."""
    from hookline.optim.build import lr_scale

    node = to_plain(cfg.get("auto_scale_lr") or {}, "auto_scale_lr")
    with told_at("auto_scale_lr"):
        return lr_scale(cfg.data.get("batch_size"), **node)


def build_optimizer(
    cfg: DictConfig, model: nn.Module, option: Mapping[str, Any] | None = None
) -> torch.optim.Optimizer:
    """Return the optimizer over the model's parameter groups.

    Args:
        cfg: the config.
        model: what is trained.
        option: the option of the group `optimizer` that the config was made from, if known: see
            `hookline.optim.build`.
    """
    from hookline.optim.build import build_optimizer as build_from_node

    return build_from_node(cfg.optimizer, model, cfg.get("param_groups"), lr_scale=lr_factor(cfg), option=option)


def build_parallel(cfg: DictConfig, processes: Processes) -> Alone:
    """Return how the processes share an update."""
    from hookline.engine.alone import Alone

    node = to_plain(cfg.get("distributed") or {}, "distributed")
    if processes.count == 1:
        return Alone()
    given = {"_target_": DATA_PARALLEL} | {key: value for key, value in node.items() if key not in LAUNCHING}
    parallel: Alone = build(given, "distributed", kind=Alone, processes=processes)
    return parallel


def build_update(
    cfg: DictConfig,
    *,
    forward: Forward,
    loss: Any,
    optimizer: torch.optim.Optimizer,
    freeze: Freeze | None = None,
    parallel: Alone | None = None,
) -> Update:
    """Return what a batch does to the weights."""
    from hookline.engine import Update

    parts: dict[str, Any] = {"forward": forward, "loss": loss, "optimizer": optimizer, "freeze": freeze}
    if parallel is not None and parallel.processes.count > 1:
        parts["parallel"] = parallel
    update: Update = build(cfg["update"], "update", kind=Update, wanted="a subclass of hookline.engine.Update", **parts)
    return update
