"""A job's overrides as a file of the group `experiment`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

# Overrides that are about one job or one sweep, and no part of a recipe.
LEFT_OUT = ("hydra", "launcher", "sweep", "resume", "resume_force")


def recipe_name(sweep: str) -> str:
    """Return a name for the best point of a sweep that a command line can choose: letters, digits, `_`, `.` and `-`."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", sweep).strip("_")
    return f"best_{safe}" if len(safe) <= 40 else f"best_{safe[:33]}-{hashlib.sha256(sweep.encode()).hexdigest()[:6]}"


def recipe_of(overrides: Sequence[str], groups: Collection[str], left_out: Collection[str], comment: str) -> str:
    """Return a file of the group `experiment` that does what these overrides do.

    Args:
        overrides: of a job.
        groups: the names of the config groups.
        left_out: further overrides that are none of it.
        comment: what the file begins with, a line or several.
    """
    parser = OverridesParser.create()
    chosen: list[Any] = []
    values = OmegaConf.create({})
    lines = [f"# {line}" for line in comment.splitlines()]
    for text in overrides:
        override = parser.parse_override(text)
        key = override.key_or_group
        if text in left_out or re.split(r"[./]", key)[0] in LEFT_OUT:
            continue
        if override.is_delete():
            lines.append(f"# What a file cannot say: {text}")
        elif key == "experiment":
            if override.value() is not None:
                chosen.insert(0, override.value())
        elif key in groups:
            chosen.append({f"override /{override.get_key_element().lstrip('+')}": override.value()})
        else:
            OmegaConf.update(values, key, override.value(), force_add=True)
    content = ({"defaults": [*chosen, "_self_"]} if chosen else {}) | _plain(values)
    return "\n".join(["# @package _global_", *lines, OmegaConf.to_yaml(OmegaConf.create(content))])


def _plain(values: Any) -> dict[str, Any]:
    plain = OmegaConf.to_container(values, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
