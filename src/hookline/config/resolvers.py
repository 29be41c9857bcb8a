"""Interpolations that the config files use."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf


def unless(other: Any, default: Any) -> Any:
    """Return `default` unless `other` is given: for two keys that exclude each other, one having a default."""
    return default if other is None else None


def register() -> None:
    """Make the interpolations known; may be called again."""
    OmegaConf.register_new_resolver("unless", unless, replace=True)
