"""What makes a job: the hash of that part of its config that its result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Keys that a job's result does not depend on, with all that is below them: how the sweep is run, what is shown and
# logged of it, what may end it early from outside, and how data are read. `data.root` is a part: another folder may
# hold other images.
NO_PART = (
    *("hydra", "launcher", "sweep", "logger", "resume", "resume_force"),
    *("hooks.text", "hooks.lr_curve", "hooks.stop_file"),
    *("distributed.backend", "distributed.timeout", "distributed.silence"),
    *("data.download", "data.workers", "data.worker_type", "data.in_memory", "data.cache_dir"),
)


def what_matters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved config without the keys that its result does not depend on."""
    return _without(config, "")


def key_of(config: Mapping[str, Any]) -> str:
    """Return the hash of what matters of a resolved config: the first 16 hexadecimal digits of a SHA-256."""
    text = json.dumps(what_matters(config), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without(node: Mapping[str, Any], above: str) -> dict[str, Any]:
    kept = {}
    for name, child in node.items():
        key = f"{above}{name}"
        if key not in NO_PART:
            kept[str(name)] = _without(child, f"{key}.") if isinstance(child, Mapping) else child
    return kept
