"""The parameter groups that a run would have, without its data and without the memory of its model."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from hookline.commands.app import chosen_option
from hookline.experiment import (
    build_freeze,
    build_model_without_memory,
    build_optimizer,
    build_source,
    require,
)
from hookline.optim.groups_table import groups_table, write_groups_csv

log = logging.getLogger(__name__)


def show_param_groups(cfg: DictConfig) -> None:
    """Print the table of groups, and write `param_groups.csv` into `preview.output_dir` if that is given."""
    require(cfg, "data", "model", "optimizer")
    model = build_model_without_memory(cfg, build_source(cfg, "train", tell=False))
    build_freeze(cfg, model)
    optimizer = build_optimizer(cfg, model, chosen_option("optimizer"))
    log.info(groups_table(optimizer))
    if cfg.preview.output_dir is not None:
        path = Path(str(cfg.preview.output_dir)) / "param_groups.csv"
        write_groups_csv(path, model, optimizer)
        log.info("one row per parameter: %s", path)
