"""Options of the group `sweep`: files that describe points."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from hookline.config.errors import ConfigError, reason_of, shown

POINTS, SPACE = "# @package hydra.sweeper.points", "# @package hydra.sweeper.params"


def check_sweep_file(argument: str, folders: Sequence[Path]) -> None:
    """Check that the file that `sweep=NAME` chooses describes points, and does not end in the jobs' config.

    Hydra reads `@package` from the lines before the first one that says something else.

    Raises:
        ConfigError: it does not, or it cannot be read.
    """
    name = argument.partition("=")[2].strip("'\"")
    path = next((file for folder in folders if (file := folder / "sweep" / f"{name}.yaml").is_file()), None)
    if path is None:
        return  # Hydra tells what there is
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{argument}: {path}: {reason_of(error)}") from error
    head = re.match(r"(?:\s*#\s*@.*\n|\s*\n)*?\s*#\s*@package\s+(\S+)", text)
    package = head[1] if head else None
    elsewhere = package == "_global_" and isinstance(content, dict) and "hydra" in content
    if package not in (POINTS.split()[-1], SPACE.split()[-1]) and not elsewhere:
        raise ConfigError(
            f"{argument}: {path} describes no points: its first line must be {POINTS!r}, or for a search {SPACE!r}"
        )
    if not isinstance(content, dict) or not content:
        raise ConfigError(
            f"{argument}: {path} describes no points: below its first line must be keys such as grids and every"
        )
    if (key := next(_wrong_keys(content), None)) is not None:
        raise ConfigError(
            f"{argument}: {path}: {key}: a key must be a text; YAML reads null, yes, no and the like as none"
        )


def _wrong_keys(node: Any, above: str = "") -> Iterator[str]:
    """Yield the dotted keys that are no text, but null, true or a number."""
    if isinstance(node, dict):
        for name, child in node.items():
            key = f"{above}{shown(name)}"
            if not isinstance(name, str):
                yield key
            yield from _wrong_keys(child, f"{key}.")
