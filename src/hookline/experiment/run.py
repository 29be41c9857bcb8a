"""The whole run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from hookline.config.checks import check_number
from hookline.config.errors import ParameterError
from hookline.config.instantiate import to_plain, told_at
from hookline.experiment.compose import require
from hookline.experiment.data import build_mix, build_source, build_train_loader, build_val_loader, with_cache
from hookline.experiment.hooks import (
    build_hooks,
    build_metrics,
    check_numbers,
    check_sharded,
    check_together,
    validates,
)
from hookline.experiment.model import (
    build_device,
    build_forward,
    build_freeze,
    build_loss,
    build_model,
    choose_numerics,
    choose_threads,
)
from hookline.experiment.optimization import build_optimizer, build_parallel, build_update
from hookline.experiment.schedules import build_clock, build_schedules, check_hooks, followed
from hookline.experiment.trained import describe_inputs

if TYPE_CHECKING:
    from hookline.data import Loader
    from hookline.engine import Runner
    from hookline.engine.processes import Processes
    from hookline.job import Job


def build_runner(
    cfg: DictConfig, job: Job, option: Mapping[str, Any] | None = None, processes: Processes | None = None
) -> Runner:
    """Return the runner that `cfg` describes, ready to run.

    Args:
        cfg: the config; the threads and the precision that were chosen take the place of `auto`.
        job: the run directory.
        option: see `build_optimizer`.
        processes: which of how many processes this one is; None for one alone.

    Raises:
        ConfigError: any part of the config is wrong; the cheap checks come before data are read.
    """
    import torch

    from hookline.data.first_batches import FirstBatches
    from hookline.engine import Runner
    from hookline.engine.device import Generators
    from hookline.engine.memory import keep_freed_memory
    from hookline.engine.processes import Processes
    from hookline.engine.trial import check_model, try_out
    from hookline.optim.group_curves import check_schedules
    from hookline.optim.group_values import base_values

    require(cfg, "data", "model", "loss", "optimizer", "lr_schedule", "update", "runner")
    with told_at(""):
        check_number("seed", cfg.seed, ge=0, lt=2**63, integer=True)
    processes = processes or Processes()
    parallel = build_parallel(cfg, processes)
    choose_numerics(cfg)
    device = build_device(cfg, processes)
    hooks, metrics = build_hooks(cfg, sharded=parallel.sharded), build_metrics(cfg)
    check_hooks(cfg, hooks)
    check_together(hooks)
    if parallel.sharded:
        check_sharded(hooks)
    Generators(device).seed(cfg.seed)
    evaluation = cfg.get("evaluation") or {}
    workflow, validated = build_workflow(cfg), validates(cfg)
    with processes.first_ahead():  # what it loads from elsewhere, the others find
        training = build_source(cfg, "train")
        training.check()
        model = build_model(cfg, training).to(device)
    # Of the whole model, as a pass over a sharded one without numbers leaves its mark in it.
    cfg.runner.threads = processes.of_first(choose_threads(cfg, model, training, processes))
    with told_at("distributed"):
        model = parallel.prepare(model)
    torch.set_num_threads(cfg.runner.threads)
    keep_freed_memory()
    with processes.first_ahead():
        training = with_cache(cfg, training)
        # A run without validation reads no validation data: the model is then tried on images of the training split.
        validation = with_cache(cfg, build_source(cfg, "val")) if validated else training
        val_loader = build_val_loader(cfg, validation, training, device, processes)
    validating: Loader = val_loader
    if cfg.runner.get("val_batches") is not None:
        with told_at("runner"):
            validating = FirstBatches(val_loader, cfg.runner.val_batches)
    freeze = build_freeze(cfg, model)
    forward = build_forward(cfg, model)
    loss = build_loss(cfg, training, device)
    val_batch = next(val_loader.batches(0)).first(2)
    job.inputs = describe_inputs(validation, val_loader, val_batch)
    outputs = check_model(forward, loss, val_batch, len(training.classes))
    train_loader = build_train_loader(cfg, training, device, build_mix(cfg, loss, outputs, device), processes)
    clock = build_clock(cfg, len(train_loader))
    optimizer = build_optimizer(cfg, model, option)
    update = build_update(cfg, forward=forward, loss=loss, optimizer=optimizer, freeze=freeze, parallel=parallel)
    size, left = cfg.data.batch_size, len(train_loader.sampler) - (len(train_loader) - 1) * cfg.data.batch_size
    last = min(size, left) if clock.max_iters >= len(train_loader) else size
    numbers = try_out(update, train_loader, size, last, metrics, val_batch)
    check_numbers(cfg, hooks, numbers, followed(cfg))
    schedules = build_schedules(cfg, clock)
    check_schedules(schedules, base_values(optimizer, schedules), clock)
    with told_at("evaluation"):
        return Runner(
            update=update,
            train_loader=train_loader,
            val_loader=validating if validated else None,
            metrics=list(metrics.values()),
            clock=clock,
            schedules=schedules,
            hooks=hooks,
            monitor=evaluation.get("monitor") or "train/loss",
            mode=evaluation.get("mode"),
            seed=cfg.seed,
            job=job,
            workflow=workflow,
        )


def build_workflow(cfg: DictConfig) -> list[tuple[str, int]]:
    """Return the pairs of phase and number of epochs that `runner.workflow` lists."""
    from hookline.engine.workflow import phases_of

    workflow = to_plain(cfg.runner, "runner")["workflow"]
    with told_at("runner"):
        if "val" in phases_of(workflow) and not validates(cfg):
            raise ParameterError("workflow", workflow, "without val where the run has no evaluation")
    return [(mode, epochs) for mode, epochs in workflow]
