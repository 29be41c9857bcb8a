"""A sweep as its directory tells it: the jobs, what each was told, how far it is and what it reached."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hookline.config.direction import mode_of
from hookline.config.errors import ConfigError, ParameterError, reason_of, shown
from hookline.job import RESULT_FILE, STATUS_FILE, STATUSES, ended_by_stop_file
from hookline.sweep.key import key_of
from hookline.sweep.lock import LOCK_FILE, is_held

JOB_FILE = "job.json"
STATE_FILE = "state.json"
STATES = ("waiting", "running", "interrupted", "done", "failed")

# Where Hydra keeps a job's config and overrides.
CONFIG = Path(".hydra", "config.yaml")
OVERRIDES = Path(".hydra", "overrides.yaml")

# What a file of JSON may hold: in words, and as a check.
Kind = tuple[str, Callable[[Any], bool]]
TEXT: Kind = ("a text", lambda value: isinstance(value, str))
TEXTS: Kind = ("a list of texts", lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value))
INTEGER: Kind = ("an integer", lambda value: isinstance(value, int) and not isinstance(value, bool))
NUMBER: Kind = ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool))
MAPPING: Kind = ("a mapping", lambda value: isinstance(value, dict))


def _or_null(kind: Kind) -> Kind:
    what, fits = kind
    return f"{what} or null", lambda value: value is None or fits(value)


def _is_result(value: Any) -> bool:
    """Say whether this is what a run leaves; a result that says nothing is none."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("status", ""), str)
        and all(isinstance(value.get(name) or {}, dict) for name in ("best", "final"))
    )


def _is_number_as_text(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return isinstance(value, str)


# What `job.json` and `state.json` have.
STORED: dict[str, Kind] = {
    "key": TEXT,
    "task": TEXT,
    "overrides": TEXTS,
    "swept": TEXTS,
    "cwd": TEXT,
    "config": MAPPING,
    "hydra": MAPPING,
    "threads": INTEGER,
    "number": INTEGER,
}
STATE: dict[str, Kind] = {
    "state": ("one of " + ", ".join(STATES), lambda value: value in STATES),
    "reason": _or_null(TEXT),
    "result": _or_null(("what a run has reached", _is_result)),
    "value": _or_null(("a number as text", _is_number_as_text)),
    "exit_status": _or_null(INTEGER),
    "seconds": _or_null(NUMBER),
    "started": _or_null(NUMBER),
    "attempts": _or_null(INTEGER),
}
# What `status.json` and `result.json` have that is read here.
RUN_STATUS: dict[str, Kind] = {
    "status": ("one of " + ", ".join(STATUSES), lambda value: value in STATUSES),
    "pid": INTEGER,
    "reason": _or_null(TEXT),
}

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
        ConfigError: it cannot be read, or is not what a launcher writes.
    """
    return _checked(directory / JOB_FILE, STORED, required=("number", "key", "overrides", "swept", "config"))


def read_state(directory: Path) -> dict[str, Any]:
    """Return what the state file of a job says, with `state` as it is now.

    A job without the file is `waiting`. One that says `running` and whose lock nobody holds is `interrupted`: its
    process was killed.

    Raises:
        ConfigError: the file cannot be read, or is not what a job writes.
    """
    for _ in range(2):
        state = read_stored_state(directory)
        if state["state"] != "running" or is_held(directory / LOCK_FILE):
            return state
    # Read again after the lock was found free: a job writes its last state before it gives the lock back.
    return state | {"state": "interrupted", "reason": state.get("reason") or "its process was killed"}


def read_stored_state(directory: Path) -> dict[str, Any]:
    """Return what the state file of a job says, whether or not its process is still there; `waiting` without the file.

    Raises:
        ConfigError: the file cannot be read, or is not what a job writes.
    """
    file = directory / STATE_FILE
    return _checked(file, STATE, required=("state",)) if file.is_file() else {"state": "waiting"}


def ending(directory: Path, state: str, result: Mapping[str, Any] | None) -> str:
    """Return the state of a job, where it is done as `done`, `diverged`, or `pruned` if its stop file has ended it."""
    if state != "done":
        return state
    if result and result.get("status") == "diverged":
        return "diverged"
    return "pruned" if ended_by_stop_file(directory, result or {}) else "done"


def _checked(
    file: Path, kinds: Mapping[str, Kind], required: Sequence[str], then: str = "and the job is run anew"
) -> dict[str, Any]:
    """Return what a file of a job says, once each of its parts is of its kind."""
    mend = f"delete {file.parent}, {then}"
    try:
        found = read_raw(file)
    except ConfigError as error:
        raise ConfigError(f"{error}; {mend}") from error
    for name in (*required, *(name for name in found if name in kinds and name not in required)):
        what, fits = kinds[name]
        if not fits(found.get(name)):
            told = f"must be {what}, not {shown(found[name])[:100]!r}" if name in found else "is missing"
            raise ConfigError(f"{file}: is damaged: {name}: {told}; {mend}")
    return found


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
    from hookline.config import resolvers

    resolvers.register()
    runs = sorted((p for p in paths if (p / CONFIG).is_file()), key=lambda p: (len(p.name), p.name))
    given = [_yaml(path / OVERRIDES, list) if (path / OVERRIDES).is_file() else [] for path in runs]
    given = [[str(override) for override in overrides] for overrides in given]
    common = Counter(override for overrides in given for override in set(overrides))
    records = []
    for path, overrides in zip(runs, given, strict=True):
        config = _yaml(path / CONFIG, dict)
        state, result, reason = _outcome(path)
        swept = [override for override in overrides if common[override] < len(runs)]
        records.append(JobRecord(path.name, path, swept, config, key_of(config), state, result, reason))
    return records


def _yaml(file: Path, kind: type) -> Any:
    """Return what a file of Hydra's holds, interpolations resolved."""
    from omegaconf import OmegaConf

    mend = f"delete {file.parent.parent}, and the report leaves the job out"
    try:
        found = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    except Exception as error:  # whatever YAML and interpolations raise
        raise ConfigError(f"{file}: cannot be read: {reason_of(error)}; {mend}") from error
    if not isinstance(found, kind):
        raise ConfigError(f"{file}: is damaged: must be a {'list' if kind is list else 'mapping'}; {mend}")
    return found


def _outcome(path: Path) -> tuple[str, dict[str, Any] | None, str | None]:
    """Return state, result and reason of a run that keeps no state file of a sweep."""
    then = "and the report leaves the job out"
    status = _checked(path / STATUS_FILE, RUN_STATUS, ["status"], then) if (path / STATUS_FILE).is_file() else {}
    if status.get("status") == "running":
        here = status.get("host") == socket.gethostname()
        gone = here and not _lives(status.get("pid", 0))
        return ("interrupted", None, "its process was killed") if gone else ("running", None, None)
    if not (path / RESULT_FILE).is_file():
        return "waiting", None, None
    result = _checked(path / RESULT_FILE, RUN_STATUS, ["status"], then)
    if not _is_result(result):
        raise ConfigError(f"{path / RESULT_FILE}: is damaged: best and final must be mappings; delete {path}, {then}")
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
    found = [job.config.get("evaluation") for job in jobs]
    settings = [one if isinstance(one, dict) else {} for one in found]
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
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read: {reason_of(error)}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: is damaged: it holds no mapping")
    return found
