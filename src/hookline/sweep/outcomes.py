"""The jobs of sweeps as rows of one table: what differs between them, and what each has reached."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from hookline.config.errors import ConfigError, reason_of, shown
from hookline.config.flat import flat
from hookline.loggers.streams import say
from hookline.sweep.jobs import JOB_FILE, JobRecord, Sweep, ending, read_stored
from hookline.sweep.key import what_matters

# What repeats a point without making another one of it.
SEED = "seed"
SWEEP = "sweep"

# Which of a run's epochs counts.
WHEN = ("best", "final")

# What a key has in a job whose config lacks it.
ABSENT = "absent"

# What the table says of a job. A run that diverged has come to its end without a number that can be compared, and one
# that its stop file has ended, as a search's pruner does, has not come to its end.
STATES = ("done", "diverged", "pruned", "failed", "interrupted", "running", "waiting", "no metric")

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
    """Return the jobs of all sweeps as one table, equal ones once.

    A parameter is swept where a job's command line has changed it and not all jobs agree on it. Its value is the
    config's; that of a config group is the option's name. A key that no command line has changed is one, too, where the
    jobs' configs differ in it and neither the options of groups, nor the seed, nor the value of another key makes the
    difference: as after an edit of a config file between two launches. Of several sweeps, `sweep` is a parameter too.

    Args:
        sweeps: at least one.
        monitor: the number that is compared.
        when: `best`: in the epoch in which the run's own monitored number was best; `final`: in the last one.
    """
    named = distinct((sweep.name, job) for sweep in sweeps for job in sweep.jobs)
    given = [dict(map(_parted, job.overrides)) for _, job in named]
    keys = list(dict.fromkeys(key for overrides in given for key in overrides if key != SEED))
    rows = [_row(job, keys, overrides) for (_, job), overrides in zip(named, given, strict=True)]
    if len({name for name, _ in named}) > 1:
        rows = [{SWEEP: name} | row for (name, _), row in zip(named, rows, strict=True)]
    untold = _untold([job for _, job in named], rows)
    rows = [row | more for row, more in zip(rows, untold, strict=True)]
    swept = [key for key in (rows[0] if rows else {}) if len({row[key] for row in rows}) > 1]
    found = []
    for (_, job), row in zip(named, rows, strict=True):
        state, score = _reached(job, monitor, when)
        values = {key: row[key] for key in swept}
        seed = shown(job.config.get(SEED))
        found.append(Outcome(job, values, seed, state, score, read_columns(job, "metrics.csv")))
    return found


def distinct(named: Iterable[tuple[str, JobRecord]]) -> list[tuple[str, JobRecord]]:
    """Return jobs, each with its sweep's name, without those that are equal to others.

    Of a sweep's jobs with one key the first that is done stays. In several sweeps they may have been run with different
    code: there, those are equal that have reached the same.
    """
    pairs = list(named)
    kept: dict[tuple[str, str], int] = {}
    for place, (name, job) in sorted(enumerate(pairs), key=lambda one: one[1][1].state != "done"):
        kept.setdefault((name, job.key), place)
    reached: dict[tuple[str, str], int] = {}
    for place in sorted(kept.values()):
        job = pairs[place][1]
        result = job.result or {}
        numbers = json.dumps([result.get(epoch) for epoch in WHEN], sort_keys=True)
        reached.setdefault((job.key, numbers), place)
    return [pairs[place] for place in sorted(reached.values())]


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

    Of a file that cannot be read there are none either, and a line on stderr says so: it costs the job its curve.
    """
    path = job.directory / name
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return {}
    except (OSError, csv.Error) as error:
        say(f"warning: {path}: cannot be read, so the job has no curve of it: {reason_of(error)}")
        return {}
    return {key: [_number(row.get(key)) for row in rows] for key in (rows[0] if rows else {}) if key}


def _reached(job: JobRecord, monitor: str, when: str) -> tuple[str, float | None]:
    if (state := ending(job.directory, job.state, job.result)) != "done":
        return state, None
    score = ((job.result or {}).get(when) or {}).get(monitor)
    if not isinstance(score, int | float) or not math.isfinite(score):
        return "no metric", None
    return "done", float(score)


def _parted(override: str) -> tuple[str, str]:
    """Return key and value of an override as they are shown."""
    key, equals, value = override.partition("=")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1].replace("\\'", "'").replace('\\"', '"')
    return key.lstrip("+~").partition("@")[0], value if equals else "removed"


def _row(job: JobRecord, keys: Sequence[str], overrides: Mapping[str, str]) -> dict[str, str]:
    """Return the text of a job's value of each key."""
    row = {key: _value(job.config, key, overrides) for key in keys}
    if all(row.values()):
        return row
    choices = _choices(job)
    return {key: text or choices.get(key, "default") for key, text in row.items()}


def _value(config: Mapping[str, Any], key: str, overrides: Mapping[str, str]) -> str:
    """Return the text of a key's value; an empty one where the key is a group's, and the overrides choose no option."""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return overrides.get(key, "")
        node = node[part]
    return overrides.get(key, "") if isinstance(node, Mapping) else shown(node)


def _choices(job: JobRecord) -> dict[str, str]:
    """Return the options of config groups that a job was composed of, as Hydra has noted them."""
    if (job.directory / JOB_FILE).is_file():
        hydra = read_stored(job.directory).get("hydra")
    else:
        file = job.directory / ".hydra" / "hydra.yaml"
        try:
            found = yaml.safe_load(file.read_text()) if file.is_file() else None
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ConfigError(f"{file}: cannot be read: {reason_of(error)}") from error
        hydra = found.get("hydra") if isinstance(found, Mapping) else None
    choices = ((hydra or {}).get("runtime") or {}).get("choices") or {}
    return {str(group): shown(option) for group, option in choices.items()}


def _untold(jobs: Sequence[JobRecord], rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return what the jobs' configs differ in beyond what the overrides say, by dotted key, for each job.

    Args:
        jobs: the jobs.
        rows: the text of each job's value of every key that an override names.
    """
    configs = [{key: shown(value) for key, value in flat(what_matters(job.config))} for job in jobs]
    told = list(rows[0]) if rows else []
    # The option of a group makes many values; a key's value makes those that are interpolated from it.
    options = [key for key in told if not all(key in config for config in configs)]
    sources = [
        {SEED: shown(job.config.get(SEED))} | {k: row[k] for k in told if k not in options}
        for job, row in zip(jobs, rows, strict=True)
    ]
    chosen: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        chosen[tuple(row[key] for key in options)].append(place)

    def told_by_others(key: str) -> bool:
        for places in chosen.values():
            texts = [configs[place].get(key, ABSENT) for place in places]
            if len(set(texts)) == 1:
                continue
            made = (
                {_parts(text, sources[place][source]) for text, place in zip(texts, places, strict=True)}
                for source in sources[0]
            )
            if not any(len(found) == 1 for found in made):
                return False
        return True

    keys = dict.fromkeys(key for config in configs for key in config if key != SEED and key not in told)
    differ = [key for key in keys if len({config.get(key) for config in configs}) > 1 and not told_by_others(key)]
    return [{key: config.get(key, ABSENT) for key in differ} for config in configs]


def _parts(text: str, value: str) -> tuple[str, ...]:
    """Return what stands around a value wherever a text has it as a word or number of its own."""
    return tuple(re.split(rf"(?<![\w.]){re.escape(value)}(?!\w|\.\d)", text))


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
