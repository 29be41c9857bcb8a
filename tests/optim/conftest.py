"""Configs as train.py composes them, and runners over them, without a command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from hookline import resolvers

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def config():
    """Return a function: train.py's config with these overrides."""
    resolvers.register()

    def make(*overrides: str, name: str = "train") -> DictConfig:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(name, list(overrides))

    return make


@pytest.fixture
def runner(config, tmp_path):
    """Return a function: the runner of a short digits run with these overrides, with no hooks that write files."""
    from hookline.training import build_runner

    quiet = [f"hooks.{name}=null" for name in ("metrics_csv", "checkpoint", "tensorboard", "lr_curve", "text")]

    def make(*overrides: str):
        return build_runner(config(*quiet, "runner.max_iters=20", "runner.device=cpu", *overrides), tmp_path)

    return make
