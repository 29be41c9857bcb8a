"""The place of users' own configs and code: the folder `local` beside `conf`, or in the folder that one works in."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from hookline.config import paths


def folders() -> list[Path]:
    """Return the folders `local` that there are; not one with a run or with checkpoints, which may be a stranger's."""
    place, project = Path.cwd(), paths.conf().parent
    places = [project] if place == project or _has_run(place) else [place, project]
    return [folder / "local" for folder in places if (folder / "local").is_dir()]


def _has_run(place: Path) -> bool:
    """Say whether a folder holds checkpoints, or is a run directory or within one."""
    is_run = any((folder / ".hydra").is_dir() or any(folder.glob("checkpoints/*.pt")) for folder in place.parents)
    return is_run or (place / ".hydra").is_dir() or (place / "checkpoints").is_dir() or any(place.glob("*.pt"))


def config_folders(arguments: Sequence[str] = ()) -> list[Path]:
    """Return the folders with config groups: the project's, then users' own.

    Args:
        arguments: the command line, whose `--config-dir` is one, too.
    """
    given = []
    for flag, following in pairwise([*arguments, ""]):
        name, equals, value = flag.partition("=")
        if name in ("--config-dir", "-cd"):
            given.append(Path(value if equals else following))
    return [paths.conf(), *(folder / "conf" for folder in folders() if (folder / "conf").is_dir()), *given]


class LocalConfigs(SearchPathPlugin):
    """Let Hydra look for options in the users' own config groups, after the project's."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in config_folders()[1:]:
            search_path.append("local", f"file://{folder}")


def register() -> None:
    """Make users' own configs known to Hydra and their modules to Python; may be called again."""
    for folder in map(str, folders()):
        if folder not in sys.path:  # behind what is installed; unlike `site`, without what .pth files in it would run
            sys.path.append(folder)
    Plugins.instance().register(LocalConfigs)


def python_path() -> str:
    """Return where this process finds modules, as `PYTHONPATH` hands it on to others."""
    return os.pathsep.join(path or os.getcwd() for path in sys.path)
