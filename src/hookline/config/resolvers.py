"""What Hydra has to know before it composes a config: interpolations that the files use, and where files are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from hookline.config import local
from hookline.config.folder_names import sweep_name

# Launchers that go on with a sweep: its directory is a function of the command. The others number their jobs anew.
GOING_ON = ("hookline", "ray", "slurm")


def unless(other: Any, default: Any) -> Any:
    """Return `default` unless `other` is given: for two keys that exclude each other, one having a default."""
    return default if other is None else None


def sweep_dir(choices: Mapping[str, str], name: str | None, overrides: Sequence[str], now: str) -> str:
    """Return where a sweep goes, below `outputs`: by its name, or by the time with a launcher that cannot go on."""
    return f"sweeps/{name or sweep_name(overrides)}" if choices["hydra/launcher"] in GOING_ON else f"multirun/{now}"


def register() -> None:
    """Make the interpolations and the users' own configs and code known; may be called again."""
    local.register()
    OmegaConf.register_new_resolver("unless", unless, replace=True)
    OmegaConf.register_new_resolver("sweep_dir", sweep_dir, replace=True)
