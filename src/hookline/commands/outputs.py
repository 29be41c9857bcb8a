"""Where commands that are no runs put their files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from hookline.config.errors import ConfigError


def output_folder(given: object, command: str) -> Path:
    """Return the folder that `output_dir` names, or for null a new one, `outputs/COMMAND/DATE/TIME`; none is made yet.

    Raises:
        ConfigError: it is no path of a folder.
    """
    if given is None:
        return Path("outputs", command, datetime.now().strftime("%Y-%m-%d/%H-%M-%S-%f"))
    folder = Path(str(given)).expanduser()
    if not isinstance(given, str | int | float) or not str(given) or (folder.exists() and not folder.is_dir()):
        raise ConfigError(f"output_dir={given}: must be the path of a folder")
    return folder
