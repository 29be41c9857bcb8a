"""Where a run comes from: the command, the machine, the packages, and the code with what was changed in it."""

from __future__ import annotations

import json
import platform
import shlex
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hookline.config.files import replacing, write_json

ORIGIN_FILE = "origin.json"

# Packages that numbers may depend on, which a run's result names.
DECISIVE = ("torch", "torchvision", "timm", "hydra-core", "numpy")


@dataclass(frozen=True)
class Origin:
    """Where a run, or a later part of it that went on, comes from.

    Attributes:
        command: the command line, as a shell takes it.
        directory: the working directory that it was given in.
        host: the machine's name.
        started: when, in UTC (ISO 8601).
        python: the version of Python.
        packages: the versions of all packages that are installed, by name.
        git_commit: the commit of the code that runs, with `+changes` where the tree differs from it; None outside git.
        git_diff: how the tree differs from that commit, as `git diff HEAD` says it; empty where it does not.
    """

    command: str = ""
    directory: str = ""
    host: str = ""
    started: str = ""
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    git_diff: str = ""

    @property
    def versions(self) -> dict[str, str]:
        """The versions of Python and of the packages that numbers may depend on."""
        return {"python": self.python} | {name: self.packages[name] for name in DECISIVE if name in self.packages}

    @property
    def facts(self) -> dict[str, Any]:
        """All but the diff, which is a text of many lines."""
        return {name: value for name, value in asdict(self).items() if name != "git_diff"}


def this_process() -> Origin:
    """Return where this process comes from."""
    commit, diff = git_state()
    return Origin(
        command=shlex.join(sys.orig_argv),
        directory=str(Path.cwd()),
        host=socket.gethostname(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        python=platform.python_version(),
        packages=_packages(),
        git_commit=f"{commit}+changes" if commit and diff else commit,
        git_diff=diff,
    )


def write_origin(directory: Path, origin: Origin, *, resumed: bool) -> None:
    """Write where a run comes from into `origin.json`, and a diff of the code, if there is one, into `git.diff`.

    Args:
        directory: the run directory.
        origin: where this process comes from.
        resumed: whether it goes on with a run: then its entry stands below those that are there, in a list, and its
            diff has their number in its name.
    """
    path = directory / ORIGIN_FILE
    entries = read_origins(directory) if resumed else []
    diff = f"git.{len(entries) + 1}.diff" if entries else "git.diff"
    if origin.git_diff:
        with replacing(directory / diff) as beside:
            beside.write_text(origin.git_diff, encoding="utf-8", errors="surrogateescape")
    write_json(path, [*entries, {**origin.facts, "git_diff": diff if origin.git_diff else None}])


def read_origins(directory: Path) -> list[dict[str, Any]]:
    """Return the entries of a run directory's `origin.json`, none where it has none that can be read."""
    try:
        found = json.loads((directory / ORIGIN_FILE).read_text())
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def _packages() -> dict[str, str]:
    # The names of these folders say it all (https://packaging.python.org/specifications/recording-installed-packages/);
    # importlib.metadata opens a file for each, which takes thirty times as long.
    found = {}
    for folder in {Path(sysconfig.get_path("platlib")), Path(sysconfig.get_path("purelib"))}:
        for path in folder.glob("*.dist-info"):
            name, _, version = path.name.removesuffix(".dist-info").partition("-")
            found[name.replace("_", "-").lower()] = version
    return dict(sorted(found.items()))


def git_state() -> tuple[str | None, str]:
    """Return the commit of the code that runs, None outside git, and how the tree differs from it."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, check=True, timeout=10)
        return done.stdout.decode("utf-8", "surrogateescape")

    try:
        commit, diff = git("rev-parse", "HEAD").strip(), git("diff", "--no-ext-diff", "--no-color", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None, ""
    return commit, diff
