"""The config groups and their options, read off the files' first comments: nothing is composed for it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

# Groups that other files are made of; nobody chooses an option of them.
INTERNAL = frozenset({"hydra", "parts"})


def group_names(folders: Iterable[Path]) -> list[str]:
    """Return the names of the groups that a user chooses options of, in alphabetical order."""
    found = {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}
    return sorted(name for name in found - INTERNAL if not name.startswith((".", "_")))


def options(folders: Iterable[Path], group: str) -> dict[str, str]:
    """Return what each option of a group is, by the option's name; earlier folders go first."""
    found: dict[str, str] = {}
    for folder in folders:
        for path in yaml_files(folder / group):
            found.setdefault(path.stem, first_comment(path))
    return dict(sorted(found.items()))


def yaml_files(folder: Path) -> list[Path]:
    """Return the config files of a folder; a folder that is called like one is none."""
    return sorted(path for path in folder.glob("*.yaml") if path.is_file())


def first_comment(path: Path) -> str:
    """Return the first sentence of the comment that a config file begins with; empty if it begins with none."""
    words = []
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("# @package"):
            continue
        if not line.startswith("#"):
            break
        words.append(line.removeprefix("#").strip())
    return re.split(r"(?<=\.)\s+(?=[A-Z+])", " ".join(words), maxsplit=1)[0].rstrip(".")


def chosen_by_default(root: Path) -> dict[str, list[str]]:
    """Return the options that a root config chooses, by group, in the order of its list of defaults.

    Args:
        root: the root's file; a root that it extends stands beside it.
    """
    found: dict[str, list[str]] = {}
    entries: list[Any] = (yaml.safe_load(root.read_text()) or {}).get("defaults", [])
    for entry in entries:
        if isinstance(entry, dict):
            ((group, option),) = entry.items()
            if not group.startswith("override "):
                found[group] = [option] if isinstance(option, str) else list(option or [])
        elif entry != "_self_":
            found |= chosen_by_default(root.with_name(f"{entry}.yaml"))
    return found
