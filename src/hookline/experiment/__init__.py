"""From a composed config to the parts of a run: one small function for each part.

This is the only place besides the commands that sees a config; what is below gets plain arguments. Each function
imports what it needs, so that a command which builds one part does not wait for the packages of the others.
"""

from hookline.experiment.compose import compose_config, require
from hookline.experiment.data import (
    build_mix,
    build_source,
    build_train_loader,
    build_val_loader,
    input_shape,
    with_cache,
)
from hookline.experiment.hooks import build_hooks, build_metrics
from hookline.experiment.model import (
    build_device,
    build_forward,
    build_freeze,
    build_loss,
    build_model,
    build_model_without_memory,
    choose_numerics,
    choose_threads,
)
from hookline.experiment.optimization import build_optimizer, build_update, lr_factor
from hookline.experiment.run import build_runner, build_workflow
from hookline.experiment.schedules import build_clock, build_schedule, build_schedules, followed, schedule_nodes

__all__ = [
    "build_clock",
    "build_device",
    "build_forward",
    "build_freeze",
    "build_hooks",
    "build_loss",
    "build_metrics",
    "build_mix",
    "build_model",
    "build_model_without_memory",
    "build_optimizer",
    "build_runner",
    "build_schedule",
    "build_schedules",
    "build_source",
    "build_train_loader",
    "build_update",
    "build_val_loader",
    "build_workflow",
    "choose_numerics",
    "choose_threads",
    "compose_config",
    "followed",
    "input_shape",
    "lr_factor",
    "require",
    "schedule_nodes",
    "with_cache",
]
