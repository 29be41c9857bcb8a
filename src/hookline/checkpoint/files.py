"""Writing and reading checkpoint files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hookline.config.files import replacing


def save(path: Path, state: Mapping[str, Any], *, config: str = "") -> None:
    """Write a run's state into the place of `path`, which is whole at any moment.

    Args:
        path: the checkpoint file.
        state: what `Runner.state_dict` gave.
        config: the run's config as YAML.
    """
    with replacing(path) as beside:
        torch.save({**state, "config": config, "torch": str(torch.__version__)}, beside)


def load(path: Path) -> dict[str, Any]:
    """Return what `save` wrote, tensors on the CPU; no code in the file is run."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content
