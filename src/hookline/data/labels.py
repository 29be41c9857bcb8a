"""Labels as people write them, numbers or names, into numbers and classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hookline.config.errors import ConfigError, reason_of

NUMBER = re.compile(r"[+-]?\d+")
# Digits that a number of a class may have, and how many numbers below the largest label may be no label: a list of all
# of them is made.
DIGITS, MOST_UNUSED = 18, 100_000


def number_labels(
    labels: Sequence[str], training: Sequence[str], names: Sequence[str] | None = None
) -> tuple[tuple[str, ...], Tensor]:
    """Return the classes, and one split's labels as int64 `[N]`.

    Labels are numbers where all of them look so, else names. Without `names`, the classes are those of the training
    labels: their names in alphabetical order, or the numbers up to the largest one.

    Args:
        labels: the labels of a split.
        training: the labels of the training split, which may be the same.
        names: the names of the classes, where somebody has listed them.

    Raises:
        ConfigError: a label is none of the classes, or out of their range.
    """
    known = set(training)
    numbers = all(NUMBER.fullmatch(label) for label in known | set(labels))
    if numbers and (long := [label for label in known | set(labels) if len(label) > DIGITS]):
        raise ConfigError(f"data: the label {long[0][:DIGITS]}... is out of range: it has {len(long[0])} digits")
    if names is None and numbers:
        count = max((int(label) for label in known), default=-1) + 1
        if count > len(known) + MOST_UNUSED:
            raise ConfigError(
                f"data: the label {count - 1} is out of range: it gives {count:,} classes, of which"
                f" {count - len(known):,} have no image; labels that are numbers must count the classes from 0 on"
            )
        names = [str(number) for number in range(count)]
    elif names is None:
        names = sorted(known)
    if not numbers:
        index = {name: number for number, name in enumerate(names)}
        strange = sorted(set(labels) - index.keys())
        if strange:
            raise ConfigError(
                f"data: there are labels that are no class of training: {some(strange)}; classes: {some(names)}"
            )
    else:
        index = {label: int(label) for label in set(labels)}
        strange = sorted((label for label, number in index.items() if not 0 <= number < len(names)), key=int)
        if strange:
            last = len(names) - 1
            raise ConfigError(
                f"data: the label {strange[0]} is out of range; with {last + 1} classes it must be 0 to {last}"
            )
    return tuple(names), torch.tensor([index[label] for label in labels], dtype=torch.int64)


def check_known(own: Iterable[str], training: Iterable[str], key: str) -> None:
    """Raise `ConfigError` where validation has classes that training has not."""
    known = sorted(training)
    strange = sorted(set(own) - set(known))
    if strange:
        raise ConfigError(f"{key}: validation has classes that training has not: {some(strange)}; it has {some(known)}")


def read_class_names(path: Path, key: str) -> list[str]:
    """Return the class names of a text file: one a line, or `name number` in any order, as `annotations.txt` has them.

    Raises:
        ConfigError: the file cannot be read, is empty or has a name twice.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}={path}: cannot be read: {reason_of(error)}") from error
    parts = [line.rsplit(maxsplit=1) for line in lines]
    numbers = [part[1] for part in parts if len(part) == 2 and part[1].isdecimal() and len(part[1]) < DIGITS]
    if sorted(map(int, numbers)) == list(range(len(lines))):  # the numbers of all classes, each once
        lines = [name for name, _ in sorted(parts, key=lambda part: int(part[1]))]
    if not lines:
        raise ConfigError(f"{key}={path}: names no class")
    twice = sorted({name for name in lines if lines.count(name) > 1}) if len(set(lines)) < len(lines) else []
    if twice:
        raise ConfigError(f"{key}={path}: names a class more than once: {some(twice)}")
    return lines


def some(names: Sequence[str], most: int = 5) -> str:
    """Return the first few names for a message."""
    return ", ".join(map(repr, names[:most])) + (", ..." if len(names) > most else "")
