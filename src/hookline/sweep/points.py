"""The points of a sweep beyond one grid: unions of grids, paired values, single points, exclusions.

A sweep is described by a mapping of three keys:

    grids:                                  # the union of these, by name
      plain: {lr_schedule.warmup: null}     # a point: every key has one value
      warm:                                 # a grid: every combination of the lists' values
        lr_schedule.warmup: [linear, exp]
        optimizer.lr, runner.max_epochs:    # paired: one row after the other
          - [0.1, 10]
          - [0.2, 20]
    every:                                  # a grid with each of whose points all of the above is run
      seed: [0, 1, 2]
    exclude:                                # points that have all the values of one entry are left out
      - {lr_schedule.warmup: exp, optimizer.lr: 0.2}
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from hookline.config.checks import check_choice
from hookline.config.errors import ConfigError, ParameterError, shown
from hookline.config.quoting import quoted

log = logging.getLogger(__name__)

KEYS = ("grids", "every", "exclude")

Point = dict[str, Any]

# Jobs of one sweep. Each is composed and stored, which for more would take hours before the first one begins.
MOST_JOBS = 10_000


def check_count(overrides: Sequence[Override], points: int = 1) -> None:
    """Raise `ConfigError` where so many combinations of values make too many jobs, before they are made.

    Args:
        overrides: of the command line.
        points: with each of which all combinations are run.
    """
    swept = [override for override in overrides if override.is_sweep_override()]
    count = points * math.prod(map(_count, swept))
    if count > MOST_JOBS:
        told = " ".join(str(override.input_line) for override in swept)
        raise ConfigError(f"{told}: {count} jobs are too many; a sweep has at most {MOST_JOBS}")


def _count(override: Override) -> int:
    """Return how many values an override has; 1 where only Hydra can tell, as for names of options by a pattern."""
    values: Any = override.value()
    if isinstance(values, ChoiceSweep):
        return len(values.list)
    if isinstance(values, RangeSweep) and values.step:
        length = ((values.stop or 0) - (values.start or 0)) / values.step
        return max(0, math.ceil(length)) if math.isfinite(length) else MOST_JOBS + 1
    return 1


def expand(sweep: Mapping[str, Any], given: Collection[str] = ()) -> list[list[str]]:
    """Return the overrides of every point, each point once; exclusions are left to `without`.

    The points of `every` come outermost: of seeds, the first is done for all points before the second begins, so that a
    sweep which is stopped early has an answer.

    Args:
        sweep: `grids`, `every` and `exclude`, as above; each may be missing, and a grid that is null is left out.
        given: keys that have their values from elsewhere; here they are left out.

    Raises:
        ParameterError: the description is none.
    """
    for key in sweep:
        check_choice("key", key, KEYS)
    named = _mapping("grids", sweep.get("grids"))
    grids = {f"grids.{name}": _mapping(f"grids.{name}", grid) for name, grid in named.items() if grid is not None}
    if named and not grids:
        raise ParameterError("grids", named, "a mapping with at least one grid that is not null")
    repeated = points_of("every", _mapping("every", sweep.get("every")))
    inner = [point for name, grid in grids.items() for point in points_of(name, grid)] or [{}]
    found = ({**point, **outer} for outer in repeated for point in inner)
    lists = ([override(key, value) for key, value in point.items() if key not in given] for point in found)
    return [list(overrides) for overrides in dict.fromkeys(map(tuple, lists))]


def points_of(name: str, grid: Mapping[str, Any]) -> list[Point]:
    """Return every combination of a grid's values; of an empty grid the one point that says nothing.

    Args:
        name: the grid's, for messages.
        grid: a value or a list of values by key; under several keys with commas between them, a list of rows.
    """
    axes: list[list[Point]] = []
    for joined, values in grid.items():
        keys = [key.strip() for key in joined.split(",")] if isinstance(joined, str) else []
        if not all(keys) or not keys or len(set(keys)) < len(keys):
            raise ParameterError(
                f"{name}: key", joined, "a config group or a dotted key, or several others with commas"
            )
        if own := [key for key in keys if re.match(r"\+*(hydra|launcher|sweep)\b", key)]:
            raise ParameterError(f"{name}: key", own[0], "a part of a job, unlike how the sweep is run")
        if values == []:
            raise ParameterError(f"{name}.{joined}", values, "a value, or a list of at least one")
        rows = values if isinstance(values, list) else [values]
        if "???" in str(rows):
            raise ParameterError(f"{name}.{joined}", values, "without ???, which stands for a value that is missing")
        if len(keys) == 1:
            axes.append([{keys[0]: value} for value in rows])
            continue
        for row in rows:
            if not isinstance(row, list) or len(row) != len(keys):
                raise ParameterError(f"{name}.{joined}", row, f"a list of rows of {len(keys)} values, one for each key")
        axes.append([dict(zip(keys, row, strict=True)) for row in rows])
    return [{key: point[key] for point in points for key in point} for points in itertools.product(*axes)]


def without(jobs: Sequence[list[str]], exclude: Sequence[Mapping[str, Any]] | None) -> list[list[str]]:
    """Return the jobs, given as their overrides, that have not all the values of one of the exclusions.

    Args:
        jobs: the overrides of each job.
        exclude: a value, or a list of values any of which is meant, by key.

    Raises:
        ParameterError: an exclusion is none, or nothing is left.
    """
    parsed = [dict(map(_parsed, job)) for job in jobs]
    kept = set(range(len(jobs)))
    if not isinstance(exclude, list | None):
        raise ParameterError("exclude", exclude, "a list of mappings")
    for number, entry in enumerate(exclude or []):
        named = _mapping(f"exclude[{number}]", entry)
        wanted = {key: [_parsed(override(key, v))[1] for v in _listed(value)] for key, value in named.items()}
        left_out = {n for n, job in enumerate(parsed) if all(key in job and job[key] in wanted[key] for key in wanted)}
        if not left_out:
            log.warning("sweep: exclude[%d] leaves nothing out: no point has all of %s", number, shown(entry))
        kept -= left_out
    if not kept:
        raise ParameterError("exclude", exclude, "such that a point is left")
    return [jobs[n] for n in sorted(kept)]


def override(key: str, value: Any) -> str:
    """Return an override of Hydra's that gives a key this value.

    Raises:
        ParameterError: the key cannot be one.
    """
    text = f"{key}={_written(value)}"
    try:
        _parsed(text)
    except HydraException as error:
        raise ParameterError("key", key, "a config group or a dotted key") from error
    return text


def _written(value: Any) -> str:
    """Return a value in the grammar of Hydra's overrides."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_written(key)}:{_written(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if not isinstance(value, str):
        return repr(value)
    try:
        if _parsed(f"key={value}")[1] == value:
            return value
    except HydraException:
        pass
    return quoted(value)


@functools.cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


@functools.cache
def _parsed(text: str) -> tuple[str, Any]:
    """Return key and value of an override."""
    found = _parser().parse_override(text)
    return found.key_or_group, found.value()


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping | None):
        raise ParameterError(name, value, "a mapping")
    return value or {}
