"""A nested config as a flat mapping with dotted keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from hookline.config.errors import shown


def flat(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of everything in a node that is no mapping, and of empty mappings."""
    if isinstance(node, Mapping) and node:
        for name, child in node.items():
            yield from flat(child, f"{key}.{name}" if key else str(name))
    else:
        yield key, node


def changes(then: Mapping[Any, Any], now: Mapping[Any, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield each dotted key in which two configs differ, in order, with both values; None where one lacks it."""
    old, new = dict(flat(then)), dict(flat(now))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield key, old.get(key), new.get(key)


def settings(config: str) -> dict[str, bool | int | float | str]:
    """Return the settings of a run's config, given as YAML, as loggers show them: one value for each dotted key.

    A list, and null, is told as on the command line.
    """
    # libyaml's reader takes a tenth of the time; PyYAML may have been built without it.
    node = yaml.load(config, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    return {key: value if isinstance(value, bool | int | float | str) else shown(value) for key, value in flat(node)}
