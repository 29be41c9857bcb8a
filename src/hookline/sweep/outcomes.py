"""The jobs of sweeps as rows of one table: what differs between them, and what each has reached."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hookline.config.errors import ConfigError, shown
from hookline.sweep.jobs import JobRecord, Sweep

# What repeats a point without making another one of it.
SEED = "seed"
SWEEP = "sweep"

# Which of a run's epochs counts.
WHEN = ("best", "final")

# What the table says of a job. A run that diverged has come to its end without a number that can be compared.
STATES = ("done", "diverged", "failed", "interrupted", "running", "waiting", "no metric")

# Numbers of the history that say nothing of what was learned.
NO_SCORES = ("epoch", "iterations", "lr", "time/", "throughput/")


@dataclass(frozen=True)
class Outcome:
    """A job, and what it has reached.

    Attributes:
        job: the job as its directory tells it.
        values: the text of every swept parameter's value, by key; `seed` is none of them.
        seed: the text of the seed.
        state: one of `STATES`.
        score: the monitored number; None unless the state is `done`.
        history: the columns of `metrics.csv`, each with a number a row, NaN where nothing was measured.
    """

    job: JobRecord
    values: dict[str, str]
    seed: str
    state: str
    score: float | None
    history: dict[str, list[float]]

    @property
    def point(self) -> tuple[str, ...]:
        """Return what it shares with the jobs that differ from it in the seed alone."""
        return tuple(self.values.values())


def outcomes_of(sweeps: Sequence[Sweep], monitor: str, when: str = "best") -> list[Outcome]:
    """Return the jobs of all sweeps as one table.

    A parameter is swept where a job's command line has changed it and not all jobs agree on it. Its value is the
    config's; that of a config group is the option's name, `default` where the job chose none. Of several sweeps,
    `sweep` is a parameter too.

    Args:
        sweeps: at least one.
        monitor: the number that is compared.
        when: `best`: in the epoch in which the run's own monitored number was best; `final`: in the last one.
    """
    named = [(sweep.name, job) for sweep in sweeps for job in sweep.jobs]
    given = [dict(map(_parted, job.overrides)) for _, job in named]
    keys = list(dict.fromkeys(key for overrides in given for key in overrides if key != SEED))
    rows = [
        {key: _value(job, key, overrides) for key in keys} for (_, job), overrides in zip(named, given, strict=True)
    ]
    if len(sweeps) > 1:
        rows = [{SWEEP: name} | row for (name, _), row in zip(named, rows, strict=True)]
    swept = [key for key in (rows[0] if rows else {}) if len({row[key] for row in rows}) > 1]
    found = []
    for (_, job), row in zip(named, rows, strict=True):
        state, score = _reached(job, monitor, when)
        values = {key: row[key] for key in swept}
        seed = shown(job.config.get(SEED))
        found.append(Outcome(job, values, seed, state, score, read_columns(job, "metrics.csv")))
    return found


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return each key's last part, with as many of those before it as tell it from the others."""
    names = {}
    for key in keys:
        parts = key.split(".")
        tails = [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        alone = (t for t in tails if not any(o == t or o.endswith(f".{t}") for o in keys if o != key))
        names[key] = next(alone, key)
    return names


def numbers_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the names of the measured numbers that the jobs' histories have, in their order."""
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.history)
    return [name for name in names if not name.startswith(NO_SCORES)]


def read_columns(job: JobRecord, name: str) -> dict[str, list[float]]:
    """Return the columns of a CSV file in a job's directory, NaN for what is no number; none without the file.

    Raises:
        ConfigError: it cannot be read.
    """
    path = job.directory / name
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return {}
    except (OSError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return {key: [_number(row.get(key)) for row in rows] for key in (rows[0] if rows else {}) if key}


def _reached(job: JobRecord, monitor: str, when: str) -> tuple[str, float | None]:
    if job.state != "done":
        return job.state, None
    result = job.result or {}
    if result.get("status") == "diverged":
        return "diverged", None
    score = (result.get(when) or {}).get(monitor)
    if not isinstance(score, int | float) or not math.isfinite(score):
        return "no metric", None
    return "done", float(score)


def _parted(override: str) -> tuple[str, str]:
    """Return key and value of an override as they are shown."""
    key, equals, value = override.partition("=")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1].replace("\\'", "'").replace('\\"', '"')
    return key.lstrip("+~").partition("@")[0], value if equals else "removed"


def _value(job: JobRecord, key: str, overrides: Mapping[str, str]) -> str:
    node: Any = job.config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return overrides.get(key, "default")
        node = node[part]
    return overrides.get(key, "default") if isinstance(node, Mapping) else shown(node)


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
