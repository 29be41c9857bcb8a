"""The main job: from a composed config to a trained model and its run directory."""

from __future__ import annotations

import logging
import math
import random
import time
from pathlib import Path
from typing import Any

import numpy
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from hookline.commands.result import device_name, final_line, write_result
from hookline.config.checks import check_number
from hookline.config.errors import ConfigError, ParameterError
from hookline.config.instantiate import build, parameter_error
from hookline.data.mix import build_mix
from hookline.engine import Runner
from hookline.engine.device import resolve_device
from hookline.hooks.build import build_hooks
from hookline.hooks.freeze import FreezeHook
from hookline.loggers.console import shown
from hookline.losses import build_loss
from hookline.models.build import build_model, check_model
from hookline.optim.build import build_optimizer, chosen_option, lr_factor
from hookline.optim.freeze import apply_freeze
from hookline.optim.groups_table import groups_table
from hookline.schedules.build import build_schedule

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> float:
    """Train as `cfg` says, leave everything in Hydra's run directory, and return the best monitored number."""
    started = time.perf_counter()
    work_dir = Path(HydraConfig.get().runtime.output_dir)
    runner = build_runner(cfg, work_dir)
    describe(cfg, runner)
    runner.run()
    seconds = time.perf_counter() - started
    write_result(runner, seconds)
    log.info(final_line(runner, seconds))
    return runner.best.get("val/top1", math.nan)


def build_runner(cfg: DictConfig, work_dir: Path) -> Runner:
    """Return the runner that `cfg` describes, hooks registered, ready to run.

    Raises:
        ConfigError: any part of the config is wrong; the cheap checks come before data are read.
    """
    for key in ("data", "model", "loss", "optimizer", "lr_schedule", "runner"):
        if cfg.get(key) is None:
            raise ConfigError(f"{key}: is missing; choose an option with {key}=NAME")
    try:
        check_number("seed", cfg.seed, ge=0, integer=True)
        device = resolve_device(cfg.runner.device)
    except ParameterError as error:
        raise parameter_error("runner" if error.name == "device" else None, error) from error
    hooks = build_hooks(cfg.hooks)
    seed_everything(cfg.seed)
    data = build(cfg.data, "data", seed=cfg.seed, device=device)
    images, labels = first_batch(data)
    model = build_model(cfg.model, num_classes=data.num_classes, in_chans=data.in_chans, img_size=images.shape[-1]).to(
        device
    )
    if cfg.runner.channels_last:
        model = model.to(memory_format=torch.channels_last)
    freeze = apply_freeze(cfg.get("freeze"), model)
    if freeze is not None:
        hooks.append(FreezeHook(freeze))
    loss = build_loss(cfg.loss, data, device)
    classes = check_model(model, loss, images, labels, data.num_classes)
    hooks += build_mix(cfg.get("mix"), loss, classes, device)
    runner = build(
        cfg.runner,
        "runner",
        model=model,
        data=data,
        loss=loss,
        optimizer=build_optimizer(
            cfg.optimizer, model, cfg.get("param_groups"), lr_scale=lr_factor(cfg), option=chosen_option()
        ),
        seed=cfg.seed,
        work_dir=work_dir,
        config=OmegaConf.to_yaml(cfg, resolve=True),
    )
    for name in map(str, cfg):
        node = cfg[name]
        if name.endswith("_schedule") and node is not None and node.get("_target_", "missing") is not None:
            field = name.removesuffix("_schedule")
            runner.schedules[field] = build_schedule(node, name, runner.clock, field)
    runner.register_hooks(hooks)
    return runner


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators."""
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def first_batch(data: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two samples as the model will see them in validation."""
    images, labels = next(iter(data.val_loader))
    return images[:2], labels[:2]


def describe(cfg: DictConfig, runner: Runner) -> None:
    """Say what is going to run: device, model, data, length, hooks and where it is written."""
    clock = runner.clock
    parameters = sum(p.numel() for p in runner.model.parameters())
    log.info("run directory: %s", shown(runner.work_dir))
    log.info(
        "model: %s, %s parameters, on %s, %s",
        cfg.model.get("model_name") or type(runner.model).__name__,
        f"{parameters:,}",
        device_name(runner),
        runner.precision,
    )
    log.info(
        "data: %s; %s epoch%s of %s iterations, %s in all",
        type(runner.data).__name__,
        clock.max_epochs,
        "s" * (clock.max_epochs != 1),
        f"{clock.iters_per_epoch:,}",
        f"{clock.max_iters:,}",
    )
    log.info("hooks, in the order they are called:\n%s", runner.describe_hooks())
    if (factor := lr_factor(cfg)) != 1:
        base = cfg.auto_scale_lr.base_batch_size
        log.info("learning rate: times %g, for batches of %d instead of %d", factor, cfg.data.batch_size, base)
    log.info("parameter groups:\n%s", groups_table(runner.optimizer))
