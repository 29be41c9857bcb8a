"""Which code a job was composed with."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

from hookline.config import local
from hookline.origin import git_state

PACKAGE = Path(str(files("hookline")))


def code_state() -> dict[str, str | None]:
    """Return what tells whether the code has changed.

    `commit` is git's, `diff` the hash of what differs from it in the tree (None for nothing), both None outside git;
    `code` is the hash of all Python files of the package and of users' own in `local`.
    """
    commit, diff = git_state()
    return {
        "commit": commit,
        "diff": hashlib.sha256(diff.encode("utf-8", "surrogateescape")).hexdigest()[:16] if diff else None,
        "code": code_hash(),
    }


def code_hash() -> str:
    """Return the hash of all Python files that a job may import from here."""
    digest = hashlib.sha256()
    for folder in (PACKAGE, *local.folders()):
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def own_modules() -> list[str]:
    """Return the names of all modules of the package."""
    paths = sorted(PACKAGE.rglob("*.py"))
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]
