"""The hooks of a run, from the config's dict of named nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hookline.config.errors import ConfigError, ParameterError
from hookline.config.instantiate import build, parameter_error, to_plain
from hookline.engine.hook import Hook, Priority


def build_hooks(node: Mapping[str, Any]) -> list[Hook]:
    """Return the hooks in the order given. A null node is left out; `priority` in a node overrides its class's."""
    hooks = []
    for name, child in to_plain(node, "hooks").items():
        if child is None:
            continue
        key = f"hooks.{name}"
        child = to_plain(child, key)
        priority = child.pop("priority", None)
        hook = build(child, key)
        if not isinstance(hook, Hook):
            raise ConfigError(f"{key}._target_={child['_target_']}: must name a subclass of hookline.hooks.Hook")
        if priority is not None:
            try:
                hook.priority = Priority.parse(priority)
            except ParameterError as error:
                raise parameter_error(key, error) from error
        hooks.append(hook)
    return hooks
