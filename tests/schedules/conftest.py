"""Schedules as a user asks for them: an option of a config group with overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from hookline import resolvers

CONF = Path(__file__).parents[2] / "conf"


def _compose(file: Path) -> DictConfig:
    # Hydra's compose, as far as these files use it: it takes 30 ms a file, and tests ask for hundreds.
    node = OmegaConf.load(file)
    assert isinstance(node, DictConfig)
    names = [name.removesuffix("@_here_") for name in node.pop("defaults", [])]
    bases = [file.parent / name if not name.startswith("/") else CONF / name[1:] for name in names]
    return _merged(*[_compose(base.with_suffix(".yaml")) for base in bases], node)


def _merged(*nodes: Any) -> DictConfig:
    merged = OmegaConf.merge(*nodes)
    assert isinstance(merged, DictConfig)
    return merged


@pytest.fixture
def option():
    """Return a function: the node of a group's option, with the given keys replaced."""
    resolvers.register()

    def load(group: str, name: str, **overrides: object) -> DictConfig:
        node = _compose(CONF / group / f"{name}.yaml")
        assert set(overrides) <= set(node), f"{group}/{name}.yaml lacks {set(overrides) - set(node)}"
        return _merged(node, overrides)

    return load
