"""Type annotations in the words of a person who writes YAML."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Any

from hookline.config.errors import shown

WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a text", NoneType: "null"}
PLURALS = {int: "integers", float: "numbers", str: "texts"}


def in_words(hint: Any) -> str:
    """Return what fits an annotation, as the end of the sentence "must be ..."."""
    kind, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Union, UnionType):
        # Of an alternative such as a tensor a config has none.
        words = [in_words(member) for member in arguments if _is_plain(member)]
        return " or ".join(dict.fromkeys(words)) or str(hint)
    if kind is typing.Literal:
        return "one of " + ", ".join(map(shown, arguments))
    if kind in WORDS:
        return WORDS[kind]
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return "a mapping"
    if isinstance(kind, type) and issubclass(kind, Iterable) and _is_plain(kind):
        return _list_in_words(kind, arguments)
    return f"of type {kind.__name__}" if isinstance(kind, type) else f"of type {hint}".replace("typing.", "")


def _list_in_words(kind: type, arguments: tuple[Any, ...]) -> str:
    if not arguments:
        return "a list"
    several = not issubclass(kind, tuple) or arguments[-1] is ...
    words = list(dict.fromkeys(in_words(argument) for argument in arguments if argument is not ...))
    if len(words) > 1:
        return "a list: " + ", ".join(words)
    plural = next((plural for member, plural in PLURALS.items() if WORDS[member] == words[0]), None)
    if plural is None:
        return f"a list, each {words[0]}"
    return f"a list of {plural}" if several else f"a list of {len(arguments)} {plural}"


def _is_plain(hint: Any) -> bool:
    kind = typing.get_origin(hint) or hint
    modules = ("builtins", "types", "typing", "collections.abc")
    return getattr(kind, "__module__", None) in modules
