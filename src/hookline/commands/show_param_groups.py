"""The parameter groups that a run would have, without running it."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from hookline.experiment import build_runner
from hookline.optim.groups_table import groups_table, write_groups_csv

log = logging.getLogger(__name__)


def show_param_groups(cfg: DictConfig) -> None:
    """Print the table of groups, and write `param_groups.csv` into `preview.output_dir` if that is given."""
    runner = build_runner(cfg, Path())
    log.info(groups_table(runner.optimizer))
    if cfg.preview.output_dir is not None:
        path = Path(cfg.preview.output_dir) / "param_groups.csv"
        write_groups_csv(path, runner.model, runner.optimizer)
        log.info("one row per parameter: %s", path)
