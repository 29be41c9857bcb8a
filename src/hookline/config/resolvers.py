"""What Hydra has to know before it composes a config: interpolations that the files use, and where files are."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

from hookline.config import local


def unless(other: Any, default: Any) -> Any:
    """Return `default` unless `other` is given: for two keys that exclude each other, one having a default."""
    return default if other is None else None


def register() -> None:
    """Make the interpolations and the users' own configs and code known; may be called again."""
    local.register()
    OmegaConf.register_new_resolver("unless", unless, replace=True)
