"""The model, what of it is frozen, its loss, and what it runs on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from hookline.config.checks import check_number
from hookline.config.errors import ConfigError, ParameterError
from hookline.config.instantiate import build, locate, parameters_of, to_plain, told_at
from hookline.experiment.data import input_shape

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hookline.data import Source
    from hookline.engine import Forward
    from hookline.engine.processes import Processes
    from hookline.optim.freeze import Freeze

log = logging.getLogger(__name__)


def build_device(cfg: DictConfig, processes: Processes | None = None) -> torch.device:
    """Return the device that `runner.device` names; of several processes on a machine, each has a GPU of its own."""
    import torch

    from hookline.engine.device import resolve_device

    with told_at("runner"):
        device = resolve_device(cfg.runner.device)
        if processes is not None and processes.count > 1 and device.type == "cuda":
            if device.index is not None:
                raise ParameterError("device", cfg.runner.device, "auto, cuda or cpu with several processes")
            device = resolve_device(f"cuda:{processes.local_rank}")
            torch.cuda.set_device(device)
        return device


def choose_numerics(cfg: DictConfig) -> None:
    """Let this process compute as `runner.deterministic`, `tf32` and `cudnn_benchmark` say; before CUDA is used."""
    from hookline.engine.numerics import set_numerics

    # The config of a run of an earlier version has none of these keys.
    given = {key: cfg.runner[key] for key in ("deterministic", "tf32", "cudnn_benchmark") if key in cfg.runner}
    with told_at("runner"):
        set_numerics(**given)


def build_model(cfg: DictConfig, source: Source) -> nn.Module:
    """Return the model, fitted to the data's classes, channels and image size, on the CPU."""
    from hookline.models.build import build_model as build_from_node

    channels, height, _ = input_shape(cfg, source)
    with told_at("model"):
        return build_from_node(cfg.model, num_classes=len(source.classes), in_chans=channels, img_size=height)


def build_model_without_memory(cfg: DictConfig, source: Source) -> nn.Module:
    """Return the model with parameters that have names and shapes but no numbers, whatever weights it starts from."""
    import torch

    node = to_plain(cfg.model, "model")
    for key, value in {
        "pretrained": False,
        "weights": None,
        "checkpoint_path": None,
        "checkpoint_weights": "auto",
    }.items():
        if key in node:
            node[key] = value
    with torch.device("meta"):
        return build_model(OmegaConf.create({**cfg, "model": node}), source)


def choose_threads(cfg: DictConfig, model: nn.Module, source: Source, processes: Processes | None = None) -> int:
    """Return how many threads an operation on the CPU is spread over: `runner.threads`, or what suits the model."""
    from hookline.config.cores import available_cores
    from hookline.engine.threads import resolve_threads
    from hookline.models.work import flops_per_layer

    wanted, work = cfg.runner.threads, None
    count, local_count = (processes.count, processes.local_count) if processes else (1, 1)
    if wanted == "auto" and next(model.parameters()).device.type == "cpu":
        with told_at("data"):
            check_number("batch_size", cfg.data.batch_size, gt=0, integer=True)
        work = flops_per_layer(model, (-(-cfg.data.batch_size // count), *input_shape(cfg, source)))
    with told_at("runner"):
        return resolve_threads(wanted, cores=available_cores(local_count), work=work)


def build_freeze(cfg: DictConfig, model: nn.Module) -> Freeze | None:
    """Return what stays frozen, None for nothing; what stays so for the whole run is frozen here already."""
    if cfg.get("freeze") is None:
        return None
    from hookline.optim.freeze import Freeze

    freeze: Freeze = build(cfg.freeze, "freeze", kind=Freeze)
    with told_at("freeze"):
        frozen = freeze.select(model)
    if freeze.epochs is None:
        for parameter in frozen.values():
            parameter.requires_grad_(False)
    return freeze if frozen else None


def build_forward(cfg: DictConfig, model: nn.Module) -> Forward:
    """Return the model's forward pass as `runner` wants it; the precision that was chosen takes the place of `auto`."""
    from hookline.engine import Forward

    runner = cfg.runner
    with told_at("runner"):
        found = Forward(model, precision=runner.precision, channels_last=runner.channels_last, compile=runner.compile)
    if runner.precision == "auto" and found.precision != "fp32":
        log.info("precision: %s, which this GPU computes in (runner.precision=auto)", found.precision)
    runner.precision = found.precision
    return found


def build_loss(cfg: DictConfig, source: Source, device: torch.device) -> Any:
    """Return the loss on the device; it is told the training data's class counts if it takes `class_counts`."""
    from torch import nn

    target = locate(to_plain(cfg.loss, "loss").get("_target_"), "loss")
    takes_counts = "class_counts" in (parameters_of(target)[0] or {})
    given: dict[str, Any] = {"class_counts": source.class_counts} if takes_counts else {}
    loss = build(cfg.loss, "loss", **given)
    if not callable(loss):
        raise ConfigError(f"loss._target_={cfg.loss._target_}: must build something callable with (logits, targets)")
    return loss.to(device) if isinstance(loss, nn.Module) else loss
