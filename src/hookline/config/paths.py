"""Where the project's config groups are."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def conf() -> Path:
    """Return the folder with the config groups.

    `src/hookline/conf` is a link to the `conf` folder of the repository, so that a built package holds it too.
    """
    return (Path(str(files("hookline"))) / "conf").resolve()
