"""Names of folders made of overrides: short, readable, and safe on every file system."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

from hookline.config.errors import ParameterError

# Bytes. File systems take 255, and paths get long.
MAX_NAME = 100
HASH = 6

UNSAFE = re.compile(r"[^A-Za-z0-9._=+,-]+")


def folder_name(overrides: Sequence[str], unique: str = "") -> str:
    """Return what these overrides say, as the name of a folder of at most 100 bytes.

    `optimizer.lr=0.1 seed=2` gives `lr=0.1,seed=2`; keys with the same last part are written out. What is not safe in a
    path becomes `_`. A name that lost something by that or is too long ends in a hash of the overrides.

    Args:
        overrides: as on the command line; a key alone stands for one that takes several values.
        unique: what the name ends in, in any case.
    """
    last = Counter(_key(override).rpartition(".")[2] for override in overrides)
    words = []
    for override in overrides:
        key, equals, value = override.lstrip("+").partition("=")
        short = key.rpartition(".")[2]
        words.append(f"{short if last[short] == 1 else key}{equals}{value}")
    text = ",".join(words) or "all"
    safe = UNSAFE.sub("_", text).lstrip(".-") or "_"
    if not unique and (safe != text or len(safe) > MAX_NAME):
        unique = hashlib.sha256(text.encode()).hexdigest()[:HASH]
    return f"{safe[: MAX_NAME - len(unique) - 1]}-{unique}" if unique else safe


def check_folder_name(name: str, value: object) -> None:
    """Raise `ParameterError` unless `value` is the name of one folder, safe on every file system."""
    text = str(value)
    fits = isinstance(value, str | int | float) and not isinstance(value, bool) and 0 < len(text) <= MAX_NAME
    if not fits or UNSAFE.search(text) or text.startswith((".", "-")):
        expected = f"one folder's name of at most {MAX_NAME} letters, digits and . _ = + , -, the first no . or -"
        raise ParameterError(name, value if text.isprintable() else repr(text), expected)


def sweep_name(overrides: Sequence[str]) -> str:
    """Return the name of the sweep that a command line means.

    What is fixed is in it with its value, what is swept with its key alone: the same command with further values means
    the same sweep. How the sweep is run is no part of the name.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    words = []
    for override in overrides:
        parsed = parser.parse_override(override)
        if not is_launchers(override):
            words.append(_key(override) if parsed.is_sweep_override() else override)
    return folder_name(words)


def is_launchers(override: str) -> bool:
    """Say whether an override is about how jobs are run, and not about what a job does."""
    return _key(override).partition(".")[0] == "launcher"


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
