"""A sweep as its directory tells it: the jobs, what each was told, how far it is and what it reached."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hookline.config.direction import mode_of
from hookline.config.errors import ConfigError, ParameterError, reason_of
from hookline.job import RESULT_FILE, STATUS_FILE
from hookline.sweep.key import key_of
from hookline.sweep.lock import LOCK_FILE, is_held

JOB_FILE = "job.json"
STATE_FILE = "state.json"
STATES = ("waiting", "running", "interrupted", "done", "failed")

# Where Hydra keeps a job's config and overrides.
CONFIG = Path(".hydra", "config.yaml")
OVERRIDES = Path(".hydra", "overrides.yaml")

# How runs end that need not go on.
ENDED = ("completed", "stopped", "diverged")


@dataclass(frozen=True)
class JobRecord:
    """One job of a sweep.

    Attributes:
        name: the name of its directory, which says what differs.
        directory: its run directory.
        overrides: the swept overrides, such as `seed=1`; those that all jobs share are left out.
        config: its config, resolved.
        key: the hash of what matters of the config; equal jobs have equal keys.
        state: one of `STATES`. A job whose process is gone without a word is `interrupted`.
        result: what `result.json` says of a run that came to its end, None before.
        reason: why it failed or was interrupted, None otherwise.
    """

    name: str
    directory: Path
    overrides: list[str]
    config: dict[str, Any]
    key: str
    state: str
    result: dict[str, Any] | None
    reason: str | None


@dataclass(frozen=True)
class Sweep:
    """A sweep.

    Attributes:
        name: the name of its directory.
        directory: where its jobs are.
        monitor: the number by which jobs are compared, such as `val/top1`.
        mode: `max` or `min`: which way it is better.
        jobs: in the order in which they were composed.
    """

    name: str
    directory: Path
    monitor: str
    mode: str
    jobs: list[JobRecord]


def read_sweep(directory: str | Path) -> Sweep:
    """Return the sweep that a directory holds: one of this project's launcher, or of any other launcher of Hydra.

    Raises:
        ConfigError: there is no such directory, it has no jobs, or a file in it cannot be read.
    """
    place = Path(directory).expanduser()
    if not place.is_dir():
        raise ConfigError(f"{directory}: there is no such sweep directory")
    found = [path for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")]
    stored = [(read_stored(path), path) for path in found if (path / JOB_FILE).is_file()]
    common = Counter(override for job, _ in stored for override in job["overrides"])
    jobs = [
        _record(
            job, path, [o for o in job["overrides"] if common[o] < len(stored)] if len(stored) > 1 else job["swept"]
        )
        for job, path in sorted(stored, key=lambda pair: (pair[0]["number"], pair[1].name))
    ]
    jobs += _of_other_launchers([path for path in found if not (path / JOB_FILE).is_file()])
    if not jobs:
        raise ConfigError(f"{directory}: is no sweep: no folder in it is the run directory of a job")
    monitor, mode = _monitored(jobs)
    return Sweep(place.resolve().name, place, monitor, mode, jobs)


def read_stored(directory: Path) -> dict[str, Any]:
    """Return what was stored of a job when it was composed (`job.json`).

    Raises:
        ConfigError: it cannot be read.
    """
    return read_raw(directory / JOB_FILE)


def read_state(directory: Path) -> dict[str, Any]:
    """Return what the state file of a job says, with `state` as it is now.

    A job without the file is `waiting`. One that says `running` and whose lock nobody holds is `interrupted`: its
    process was killed.

    Raises:
        ConfigError: the file cannot be read.
    """
    for _ in range(2):
        state = read_raw(directory / STATE_FILE) if (directory / STATE_FILE).is_file() else {"state": "waiting"}
        if state["state"] != "running" or is_held(directory / LOCK_FILE):
            return state
    # Read again after the lock was found free: a job writes its last state before it gives the lock back.
    return state | {"state": "interrupted", "reason": state.get("reason") or "its process was killed"}


def _record(job: Mapping[str, Any], path: Path, swept: Sequence[str]) -> JobRecord:
    state = read_state(path)
    return JobRecord(
        name=path.name,
        directory=path,
        overrides=list(swept),
        config=job["config"],
        key=job["key"],
        state=state["state"],
        result=state.get("result"),
        reason=state.get("reason"),
    )


def _of_other_launchers(paths: Sequence[Path]) -> list[JobRecord]:
    """Return the jobs of a plain multirun, in the order of their numbers."""
    from omegaconf import OmegaConf

    from hookline.config import resolvers

    resolvers.register()
    runs = sorted((p for p in paths if (p / CONFIG).is_file()), key=lambda p: (len(p.name), p.name))
    given: list[list[str]] = []
    for path in runs:
        file = path / OVERRIDES
        given.append([str(override) for override in OmegaConf.load(file)] if file.is_file() else [])
    common = Counter(override for overrides in given for override in set(overrides))
    records = []
    for path, overrides in zip(runs, given, strict=True):
        try:
            config: Any = OmegaConf.to_container(OmegaConf.load(path / CONFIG), resolve=True)
        except Exception as error:  # whatever YAML and interpolations raise
            raise ConfigError(f"{path / CONFIG}: cannot be read: {reason_of(error)}") from error
        state, result, reason = _outcome(path)
        swept = [override for override in overrides if common[override] < len(runs)]
        records.append(JobRecord(path.name, path, swept, config, key_of(config), state, result, reason))
    return records


def _outcome(path: Path) -> tuple[str, dict[str, Any] | None, str | None]:
    """Return state, result and reason of a run that keeps no state file of a sweep."""
    status = read_raw(path / STATUS_FILE) if (path / STATUS_FILE).is_file() else {}
    if status.get("status") == "running":
        here = status.get("host") == socket.gethostname()
        gone = here and not _lives(int(status["pid"]))
        return ("interrupted", None, "its process was killed") if gone else ("running", None, None)
    result = read_raw(path / RESULT_FILE) if (path / RESULT_FILE).is_file() else None
    if result is None:
        return "waiting", None, None
    if result["status"] in ENDED:
        return "done", result, None
    return result["status"], None, result.get("reason")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _monitored(jobs: Sequence[JobRecord]) -> tuple[str, str]:
    """Return the monitored number that most jobs have, and its direction."""
    settings = [job.config.get("evaluation") or {} for job in jobs]
    pairs = [(str(one.get("monitor") or "train/loss"), one.get("mode")) for one in settings]
    (monitor, mode), _ = Counter(pairs).most_common(1)[0]
    try:
        return monitor, mode_of(monitor, mode)
    except ParameterError as error:
        raise ConfigError(f"evaluation.{error}") from error


def read_raw(path: Path) -> dict[str, Any]:
    """Return the mapping that a file of JSON holds.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {reason_of(error)}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: is damaged: it holds no mapping")
    return found
