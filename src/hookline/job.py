"""A run directory, and what it says of its run."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hookline.config.files import replacing, write_json
from hookline.origin import Origin

STATUS_FILE = "status.json"
RESULT_FILE = "result.json"
CLASSES_FILE = "classes.txt"
STOP_FILE = "stop"
STATUSES = ("running", "completed", "stopped", "interrupted", "diverged", "failed")


@dataclass
class Job:
    """One run and its directory.

    Whoever starts a run chooses the directory once and hands the job to all of the run's processes. The directory holds
    a status file that is replaced as a whole, so that sweeps, resume, evaluation and reports need nothing else to know
    who runs it, since when, how far it is and how it ended.

    Attributes:
        directory: the run directory.
        config: the run's config as YAML, interpolations resolved.
        overrides: what the command line changed in the config.
        origin: the command, the versions and the code that the run comes from.
        started: when the run began, in UTC (ISO 8601).
        inputs: what the model gets (see `hookline.experiment.trained.describe_inputs`), which each checkpoint holds, so
            that it can be used without the data.
    """

    directory: Path
    config: str = ""
    overrides: Sequence[str] = ()
    origin: Origin = field(default_factory=Origin)
    started: str = field(default_factory=lambda: _now())
    inputs: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What loggers call the run: the last two parts of its directory, such as date and time."""
        return "/".join(self.directory.absolute().parts[-2:])

    def write_status(self, status: str, **how_far: Any) -> None:
        """Replace the status file.

        Args:
            status: one of `STATUSES`.
            how_far: further numbers and texts, such as `iter` and `max_iters`, or the `reason` of a failure.
        """
        who = {"pid": os.getpid(), "host": socket.gethostname()}
        when = {"started": self.started, "updated": _now()}
        write_json(self.directory / STATUS_FILE, {"status": status, **who, **when, **how_far})

    def put_status(self, status: dict[str, Any]) -> None:
        """Put back what `read_status` gave."""
        write_json(self.directory / STATUS_FILE, status)

    def read_status(self) -> dict[str, Any]:
        """Return what the status file says, or an empty dict where there is none."""
        try:
            found: dict[str, Any] = json.loads((self.directory / STATUS_FILE).read_text())
        except FileNotFoundError:
            return {}
        return found

    def write_classes(self, classes: Sequence[str]) -> None:
        """Write the names of the classes, one a line, in the order of the labels."""
        lines = "".join(" ".join(name.split()) + "\n" for name in classes)
        with replacing(self.directory / CLASSES_FILE) as beside:
            beside.write_text(lines, encoding="utf-8", errors="surrogateescape")

    def write_result(self, result: dict[str, Any]) -> None:
        """Write what the run reached into `result.json`."""
        write_json(self.directory / RESULT_FILE, result)


def stop_reason(directory: Path) -> str | None:
    """Return what the stop file of a run says, None where there is none."""
    try:
        text = (directory / STOP_FILE).read_text()
    except FileNotFoundError:
        return None
    return next(iter(text.splitlines()), "") or f"there is a file {STOP_FILE} in the run directory"


def ended_by_stop_file(directory: Path, result: Mapping[str, Any]) -> bool:
    """Say whether a run ended because of its stop file, as by a search's pruner, and not because it was through.

    Args:
        directory: the run directory.
        result: what `result.json` says, empty where there is none.
    """
    return result.get("status") == "stopped" and result.get("reason") == stop_reason(directory)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
