"""Objects whose attributes are put back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def attributes_kept(objects: Iterable[object]) -> Iterator[None]:
    """Put back at the end the attributes of these objects, and what the lists, dicts and sets among them hold.

    A model may count its calls, or keep what it computed for the size of an image. Containers stay the same objects, as
    others may hold on to them; what tensors hold is not put back.
    """
    restore: list[Callable[[], object]] = []
    seen: set[int] = set()
    for owner in objects:
        if hasattr(owner, "__dict__"):
            _remember(vars(owner), restore, seen)
    try:
        yield
    finally:
        for put_back in restore:
            put_back()


def _remember(value: Any, restore: list[Callable[[], object]], seen: set[int]) -> None:
    """Note how a container is put back, and the containers in it."""
    if id(value) in seen or not isinstance(value, dict | list | set | deque):
        return
    seen.add(id(value))
    before = value.copy()
    add = value.update if isinstance(value, dict | set) else value.extend
    restore.append(lambda: (value.clear(), add(before)))
    for child in before.values() if isinstance(before, dict) else before:
        _remember(child, restore, seen)
