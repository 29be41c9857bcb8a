"""What is written of a job: once when it is composed, and its state, replaced as a whole."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hookline.config.files import write_json
from hookline.config.folder_names import folder_name
from hookline.sweep.jobs import JOB_FILE, STATE_FILE, read_stored


def stored_jobs(sweep: Path) -> dict[str, Path]:
    """Return the directories of a sweep's jobs by their keys."""
    found = sorted(path.parent for path in sweep.glob(f"*/{JOB_FILE}") if not path.parent.name.startswith("."))
    return {read_stored(path)["key"]: path for path in found}


def job_name(job: Mapping[str, Any], unique: str = "") -> str:
    """Return the name of a job's directory: what is swept, or all that it was told where nothing is."""
    return folder_name(job["swept"] or job["overrides"], unique)


def store_job(sweep: Path, job: Mapping[str, Any]) -> Path:
    """Write a job into a directory of its own, and return that.

    The directory appears with its file in it, at once: a launch that was killed leaves no empty one, and of two
    launches that store the same job at the same moment one finds that of the other.

    Args:
        sweep: the sweep's directory.
        job: what `job.json` says; of it `swept` gives the name, and `key` makes it unique where that is taken.
    """
    beside = Path(tempfile.mkdtemp(prefix=".job.", dir=sweep))
    beside.chmod(0o755)
    write_json(beside / JOB_FILE, job)
    try:
        for name in (job_name(job), job_name(job, unique=job["key"][:6])):
            place = sweep / name
            try:
                os.rename(beside, place)
                return place
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                if (place / JOB_FILE).is_file() and read_stored(place)["key"] == job["key"]:
                    return place
        raise FileExistsError(errno.EEXIST, "is in the way of a job", str(place))
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_state(directory: Path, state: str, **more: Any) -> None:
    """Replace the state of a job. Only who holds its lock may do this."""
    who = {"pid": os.getpid(), "host": socket.gethostname(), "updated": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(directory / STATE_FILE, {"state": state, **who, **more})
