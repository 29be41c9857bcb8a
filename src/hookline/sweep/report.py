"""The report on sweeps: which point is best, how sure that is, and what mattered; as text, CSV and a page."""

from __future__ import annotations

import csv
import html
import json
import math
import os
import textwrap
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from hookline.config.direction import mode_of
from hookline.config.errors import ConfigError
from hookline.config.files import replacing
from hookline.sweep.curves import curves_of
from hookline.sweep.jobs import Sweep
from hookline.sweep.outcomes import STATES, Outcome, numbers_of, outcomes_of, short_names
from hookline.sweep.statistics import (
    Effect,
    Importance,
    Interval,
    PointSummary,
    effects,
    importance,
    points_of,
)

PAGE = "report.html"
JOBS_TABLE = "report_jobs.csv"
POINTS_TABLE = "report_points.csv"
SHARES_TABLE = "report_shares.csv"

# A terminal's lines for the points; the page has all of them.
MOST_LINES = 12
# And for the values with which jobs diverged.
MOST_VALUES = 4


@dataclass(frozen=True)
class Report:
    """What sweeps have found.

    Attributes:
        name: the sweeps' names.
        monitor: the number by which jobs are compared.
        mode: `max` or `min`: which way it is better.
        when: `best` or `final`: the epoch of each job that counts.
        outcomes: all jobs, the best first.
        points: all points, the best first.
        effects: what goes with each value, by swept parameter.
        importance: what the differences go with; None where that cannot be told.
    """

    name: str
    monitor: str
    mode: str
    when: str
    outcomes: list[Outcome]
    points: list[PointSummary]
    effects: dict[str, list[Effect]]
    importance: Importance | None

    @property
    def parameters(self) -> list[str]:
        """Return the keys of the swept parameters."""
        return list(self.outcomes[0].values)

    @property
    def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state that any is in."""
        counts = Counter(outcome.state for outcome in self.outcomes)
        return {state: counts[state] for state in STATES if counts[state]}


def make_report(
    sweeps: Sequence[Sweep], monitor: str | None = None, mode: str | None = None, when: str = "best"
) -> Report:
    """Return the report on one or several sweeps.

    Args:
        sweeps: at least one.
        monitor: the number to compare; None: the one that the first sweep was told to watch.
        mode: `max` or `min`; None: the sweep's, or what the number's name says.
        when: `best` or `final`.

    Raises:
        ConfigError: a file cannot be read.
        ParameterError: the number's name does not say which way it is better, and `mode` neither.
    """
    own = monitor is None or monitor == sweeps[0].monitor
    monitor = monitor or sweeps[0].monitor
    outcomes = outcomes_of(sweeps, monitor, when)
    known = numbers_of(outcomes)
    if known and monitor not in known and not own:
        raise ConfigError(f"--monitor={monitor}: no job has this number. There is: {', '.join(known)}")
    mode = sweeps[0].mode if own and mode is None else mode_of(monitor, mode)
    sign = -1 if mode == "max" else 1
    outcomes.sort(key=lambda o: (o.score is None, sign * (o.score or 0.0), STATES.index(o.state)))
    points = points_of(outcomes, mode)
    name = ", ".join(sweep.name for sweep in sweeps)
    return Report(name, monitor, mode, when, outcomes, points, effects(outcomes, mode), importance(outcomes))


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the page and the tables of jobs, points and shares into a folder, and return their paths."""
    contents = {
        PAGE: page(report, folder),
        JOBS_TABLE: jobs_table(report, folder),
        POINTS_TABLE: points_table(report),
        SHARES_TABLE: [["what", "share, %"], *((share.what, share.percent) for share in shares_of(report))],
    }
    for name, content in contents.items():
        with replacing(folder / name) as beside:
            if isinstance(content, str):
                beside.write_text(content, encoding="utf-8", errors="replace")
            else:
                with beside.open("w", newline="", encoding="utf-8", errors="replace") as file:
                    csv.writer(file).writerows(content)
    return [folder / name for name in contents]


def jobs_table(report: Report, folder: Path) -> list[list[Any]]:
    """Return a heading and a row for each job, the best first."""
    rows: list[list[Any]] = [
        ["job", "state", *report.parameters, "seed", report.monitor, "epochs", "seconds", "reason", "directory"]
    ]
    for outcome in report.outcomes:
        job = outcome.job
        score = "" if outcome.score is None else repr(outcome.score)
        seconds = (job.result or {}).get("seconds", "")
        place = os.path.relpath(job.directory, folder)
        values = outcome.values.values()
        rows.append(
            [job.name, outcome.state, *values, outcome.seed, score, _epochs(outcome), seconds, _reason(outcome), place]
        )
    return rows


def points_table(report: Report) -> list[list[Any]]:
    """Return a heading and a row for each point, the best first."""
    rows: list[list[Any]] = [
        [*report.parameters, "jobs", "done", "mean", "standard deviation", "95 % low", "95 % high"]
        + [f"difference to the best{part}" for part in ("", ", 95 % low", ", 95 % high", ", p", ", seeds in common")]
    ]
    for point in report.points:
        score, behind = point.score, point.behind
        difference, _, low, high = _cells(behind)
        certainty = [low, high, behind.p, behind.count] if behind else [None] * 4
        jobs = [len(point.outcomes), score.count if score else 0]
        rows.append([*point.values.values(), *jobs, *_cells(score), difference, *certainty])
    return rows


@dataclass(frozen=True)
class Share:
    """What a part of the differences between the jobs goes with.

    Attributes:
        what: a parameter's short name, or what it is beside the parameters.
        percent: of the variance, a whole number.
        parameter: whether it is a parameter.
    """

    what: str
    percent: int
    parameter: bool


def shares_of(report: Report) -> list[Share]:
    """Return what the differences go with, in percent that add up to 100; nothing where that cannot be told."""
    found = report.importance
    if found is None:
        return []
    names = short_names(report.parameters)
    shares = [(names[key], share, True) for key, share in found.parameters.items()]
    if found.interactions is None:
        shares.append(("combinations and chance", found.chance, False))
    else:
        shares += [("combinations", found.interactions, False), ("seeds and chance", found.chance, False)]
    # Those that lose most by being cut to whole numbers get what is missing to 100.
    cut = [int(100 * share) for _, share, _ in shares]
    order = sorted(range(len(shares)), key=lambda n: cut[n] - 100 * shares[n][1])
    more = set(order[: 100 - sum(cut)])
    return [Share(what, cut[n] + (n in more), parameter) for n, (what, _, parameter) in enumerate(shares)]


def text(report: Report, columns: int | None = None) -> str:
    """Return the report's heart for a terminal.

    Args:
        report: the report.
        columns: how many characters a line of the table has; None: as many as it takes. In a narrow one the points'
            values stand as `key=value` beside the numbers, on as many lines as they need.
    """
    unit = f"{report.monitor}, {'higher' if report.mode == 'max' else 'lower'} is better, {report.when} epoch"
    counts = ", ".join(f"{count} {state}" for state, count in report.counts.items())
    lines = [f"{report.name}: {len(report.outcomes)} jobs: {counts}", unit]
    scored = [point for point in report.points if point.score is not None]
    if scored:
        lines += ["", *_points(report, scored[:MOST_LINES], columns)]
    if len(scored) > MOST_LINES:
        lines.append(f"... and {len(scored) - MOST_LINES} more")
    if shares := shares_of(report):
        told = ", ".join(f"{share.what} {share.percent}%" for share in shares)
        lines += ["", f"what the differences go with: {told}"]
    return "\n".join([*lines, *_lost(report), *_reasons(report)])


def _points(report: Report, points: Sequence[PointSummary], columns: int | None) -> list[str]:
    """Return a heading and a line or more for each point."""
    names = short_names(report.parameters)
    rows = [["mean", "±95 %", "behind", "p", "seeds"]]
    for point in points:
        score, behind = point.score, point.behind
        assert score is not None
        difference, p = (behind.mean, behind.p) if behind else (None, None)
        chance = "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
        rows.append([f"{score.mean:.4g}", _told(score.half), _told(difference), chance, str(score.count)])
    # Numbers are set to the right, and columns without one are left out.
    numbers = _aligned([column for column in zip(*rows, strict=True) if any(column[1:])], str.rjust)
    if not names:
        return numbers
    values = [list(names.values()), *(list(point.values.values()) for point in points)]
    beside = _aligned(zip(*values, strict=True), str.ljust)
    wide = [f"{left}  {right}".rstrip() for left, right in zip(numbers, beside, strict=True)]
    if columns is None or max(map(len, wide)) <= columns:
        return wide
    lines, room = [numbers[0]], max(20, columns - len(numbers[0]) - 2)
    for number, row in zip(numbers[1:], values[1:], strict=True):
        pairs = " ".join(f"{name}={value}" for name, value in zip(names.values(), row, strict=True))
        first, *more = textwrap.wrap(pairs, room, break_on_hyphens=False)
        lines += [f"{number}  {first}", *(" " * (len(number) + 2) + line for line in more)]
    return lines


def _aligned(columns: Iterable[Sequence[str]], align: Callable[[str, int], str]) -> list[str]:
    """Return the lines of a table."""
    padded = [[align(cell, max(map(len, column))) for cell in column] for column in columns]
    return ["  ".join(row) for row in zip(*padded, strict=True)]


def _lost(report: Report) -> list[str]:
    """Return a line that says with which values jobs diverged, the likeliest first; none where no job has."""
    counts = Counter((key, value) for o in report.outcomes for key, value in o.values.items())
    lost = Counter((key, value) for o in report.outcomes if o.state == "diverged" for key, value in o.values.items())
    if not lost:
        return []
    names = short_names(report.parameters)
    order = sorted(lost, key=lambda pair: -lost[pair] / counts[pair])[:MOST_VALUES]
    told = [f"{names[key]}={value} {lost[key, value]} of {counts[key, value]}" for key, value in order]
    return ["", f"jobs that diverged, by what they have: {', '.join(told)}"]


def _reasons(report: Report) -> list[str]:
    """Return a line for each reason why jobs failed or diverged."""
    jobs: dict[tuple[str, str], list[str]] = {}
    for outcome in report.outcomes:
        if outcome.state in ("failed", "diverged"):
            jobs.setdefault((outcome.state, _reason(outcome)), []).append(outcome.job.name)
    found = []
    for (state, reason), names in list(jobs.items())[:MOST_LINES]:
        told = names[0] if len(names) == 1 else f"{len(names)} jobs ({names[0]} and {len(names) - 1} more)"
        found.append(f"{state}: {told}" + f": {reason}" * bool(reason))
    return found


def page(report: Report, folder: Path) -> str:
    """Return a page that needs no other file and no network; its links lead from `folder` to the jobs."""
    parts = files("hookline.sweep") / "page"
    texts = {
        "TITLE": html.escape(f"{report.name}: {report.monitor}"),
        "STYLE": (parts / "uPlot.min.css").read_text() + (parts / "report.css").read_text(),
        "LICENSE": (parts / "uPlot.LICENSE").read_text(),
        "UPLOT": (parts / "uPlot.iife.min.js").read_text(),
        "SCRIPT": (parts / "report.js").read_text(),
        "DATA": _json(_data(report, folder)),
    }
    pieces = (parts / "report.html").read_text().split("@@")
    # Every second piece is a name: what is put in is not looked through for others.
    return "".join(texts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def _data(report: Report, folder: Path) -> dict[str, Any]:
    """Return what the page shows."""
    place = {id(outcome): number for number, point in enumerate(report.points) for outcome in point.outcomes}
    names = numbers_of(report.outcomes)
    first = [report.monitor] if report.monitor in names else []
    names = first + [name for name in names if name != report.monitor]
    return {
        "name": report.name,
        "monitor": report.monitor,
        "mode": report.mode,
        "when": report.when,
        "counts": report.counts,
        "parameters": [{"key": key, "name": name} for key, name in short_names(report.parameters).items()],
        "points": [
            {
                "values": list(point.values.values()),
                "states": [outcome.state for outcome in point.outcomes],
                "scores": [[outcome.seed, outcome.score] for outcome in point.outcomes if outcome.score is not None],
                "missing": point.missing,
                "score": _plain(point.score),
                "behind": _plain(point.behind),
            }
            for point in report.points
        ],
        "jobs": [
            {
                "name": outcome.job.name,
                "link": _link(outcome.job.directory, folder),
                "point": place[id(outcome)],
                "values": list(outcome.values.values()),
                "seed": outcome.seed,
                "state": outcome.state,
                "score": outcome.score,
                "epochs": _epochs(outcome),
                "seconds": (outcome.job.result or {}).get("seconds"),
                "reason": _reason(outcome),
            }
            for outcome in report.outcomes
        ],
        "effects": [
            {"key": key, "values": [{**asdict(effect), "value": effect.value} for effect in found]}
            for key, found in report.effects.items()
        ],
        "shares": [asdict(share) for share in shares_of(report)],
        "curves": curves_of([point.outcomes for point in report.points], names),
    }


def _json(content: Any) -> str:
    """Return JSON that can stand inside a page's script element."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))  # ASCII: whatever a name is made of
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _link(directory: Path, folder: Path) -> str:
    relative = os.path.relpath(directory, folder).replace(os.sep, "/")
    return urllib.parse.quote(f"./{relative}/", errors="surrogateescape")


def _epochs(outcome: Outcome) -> int:
    epochs: Iterable[float] = outcome.history.get("epoch", ())
    return int(max((epoch for epoch in epochs if math.isfinite(epoch)), default=0))


def _reason(outcome: Outcome) -> str:
    return outcome.job.reason or (outcome.job.result or {}).get("reason") or ""


def _plain(found: Interval | None) -> dict[str, Any] | None:
    return asdict(found) if found else None


def _cells(found: Interval | None) -> list[float | None]:
    """Return mean, standard deviation, and both ends of the interval."""
    if found is None:
        return [None] * 4
    ends = [None, None] if found.half is None else [found.mean - found.half, found.mean + found.half]
    return [found.mean, found.sd, *ends]


def _told(number: float | None) -> str:
    return "" if number is None else f"{number:.3g}"
