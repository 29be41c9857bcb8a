"""What a `_target_` may name."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable
from typing import Any

from hookline.config.errors import ConfigError

# What of Python's own library only makes values, and may stand inside a node.
HARMLESS = frozenset({"collections", "datetime", "fractions", "functools", "math", "pathlib"})


def is_pythons_own(target: Callable[..., Any]) -> bool:
    """Say whether a target belongs to Python's own library, which has no part of a run but much that does harm."""
    package = (getattr(target, "__module__", None) or "").partition(".")[0]
    return package in sys.stdlib_module_names and package not in HARMLESS


def check_kind(target: Callable[..., Any], kind: type, shown: str, wanted: str = "") -> None:
    """Raise `ConfigError` where a class is no subclass of `kind`, or a function says that it returns something else.

    Args:
        target: what would be called.
        kind: what has to come of it.
        shown: key and value, for the message.
        wanted: what the target must be; by default a subclass of `kind`.
    """
    made: Any = target
    if not inspect.isclass(target):
        try:
            made = typing.get_type_hints(target).get("return")
        except Exception:  # an annotation that only the library's own type checker can read
            return
    if inspect.isclass(made) and not issubclass(made, kind) and not issubclass(kind, made):
        raise wrong_kind(shown, kind, wanted)


def wrong_kind(shown: str, kind: type, wanted: str = "") -> ConfigError:
    """Return the error for a target that is of another kind."""
    return ConfigError(f"{shown}: must name {wanted or f'a subclass of {kind.__module__}.{kind.__name__}'}")
