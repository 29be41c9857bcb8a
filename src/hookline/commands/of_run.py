"""What commands on a finished run have in common: overrides of its config, and opening it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from omegaconf import DictConfig, OmegaConf

from hookline.config import paths
from hookline.config.errors import ConfigError, did_you_mean
from hookline.config.quoting import quoted

if TYPE_CHECKING:
    from hookline.experiment.trained import Trained


def with_overrides_of_run(arguments: Sequence[str], config_name: str) -> list[str]:
    """Return the command line of a command whose root has the key `overrides`: those of the run's config go there.

    Other commands' arguments are returned as they are.
    """
    file = paths.conf() / f"{config_name}.yaml"
    own = yaml.safe_load(file.read_text()) if file.is_file() else {}
    if "overrides" not in own:
        return list(arguments)
    arguments = _with_checkpoint(arguments)
    kept: list[str] = []
    moved: list[str] = []
    for argument in arguments:
        key = argument.lstrip("+~").partition("=")[0].partition("@")[0]
        first = key.replace("/", ".").partition(".")[0]
        is_own = argument.startswith("-") or first in own or first == "hydra"
        # A word without a dot or a group is none of a run's keys, but a mistake in one of this command's.
        if not is_own and "=" in argument and "." not in key and (near := did_you_mean(key, own)):
            raise ConfigError(f"{key}: there is no such key.{near}")
        (kept if is_own else moved).append(argument)
    return [*kept, *([f"overrides=[{','.join(map(quoted, moved))}]"] if moved else [])]


def open_run(cfg: DictConfig, run: str | None = None, device: str | None = None) -> Trained:
    """Return what the keys `run`, `weights`, `device`, `trust` and `overrides` ask for.

    Args:
        cfg: the command's config.
        run: which run, where `run` lists several.
        device: in the place of the key `device`.
    """
    from hookline.experiment import choose_numerics
    from hookline.experiment.trained import load

    if run is None:
        run = cfg.run
    if run is None:
        raise ConfigError("run: is missing; give a run directory or one of its checkpoints, run=RUN_DIR")
    if not isinstance(run, str):
        raise ConfigError(f"run={run}: must be one run directory or checkpoint")
    plain = OmegaConf.to_container(cfg)
    assert isinstance(plain, dict)
    overrides = plain.get("overrides") or []
    if not isinstance(overrides, list) or not all(isinstance(override, str) for override in overrides):
        raise ConfigError(f"overrides={overrides}: must be a list of KEY=VALUE")
    found = load(run, weights=cfg.weights, device=device or cfg.device, overrides=overrides, trust=plain["trust"])
    choose_numerics(found.cfg)
    return found


def folder_in_run(trained: Trained, cfg: DictConfig, *names: str) -> Path:
    """Return the folder of a run directory that a command writes to; no link in it may lead out of the run.

    Raises:
        ConfigError: one does, and the run is not trusted.
    """
    from hookline.experiment.trust import check_links

    check_links(trained.run_dir, cfg.trust is True, f"run={trained.run_dir}", within=names[0])
    return trained.run_dir.joinpath(*names)


def _with_checkpoint(arguments: Sequence[str]) -> list[str]:
    """Return the command line with `checkpoint=FILE` as `run=FILE`: to Hydra it would choose an option of a group."""
    found = [argument for argument in arguments if argument.startswith("checkpoint=")]
    if found and any(argument.startswith("run=") for argument in arguments):
        raise ConfigError(f"{found[-1]}: excludes run; give either run=RUN_DIR or checkpoint=FILE")
    return [f"run={a.partition('=')[2]}" if a.startswith("checkpoint=") else a for a in arguments]
