"""The place of users' own configs and code: the folder `local` beside `conf`, or in the folder that one works in."""

from __future__ import annotations

import site
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from hookline.config import paths


def folders() -> list[Path]:
    """Return the folders `local` that there are; not one in a run directory, which may be a stranger's."""
    places = (Path.cwd() / "local", paths.conf().parent / "local")
    return [folder for folder in dict.fromkeys(places) if folder.is_dir() and not _is_run(folder.parent)]


def _is_run(folder: Path) -> bool:
    return (folder / "checkpoints").is_dir() or (folder / ".hydra").is_dir()


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
    for folder in folders():
        site.addsitedir(str(folder))  # behind what is installed, once
    Plugins.instance().register(LocalConfigs)
