"""The report on sweeps: which point is best, how sure that is, and what mattered; as text, CSV and a page."""

from __future__ import annotations

import csv
import html
import json
import math
import os
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Sequence
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

# A terminal's lines for the points; the page has all of them.
MOST_LINES = 12


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
    """Write `report.html`, `report_jobs.csv` and `report_points.csv` into a folder, and return their paths."""
    contents = {PAGE: page(report, folder), JOBS_TABLE: jobs_table(report, folder), POINTS_TABLE: points_table(report)}
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
            [job.name, outcome.state, *values, outcome.seed, score, _epochs(outcome), seconds, job.reason or "", place]
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


def text(report: Report, columns: int = 80) -> str:
    """Return the report's heart for a terminal."""
    unit = f"{report.monitor}, {'higher' if report.mode == 'max' else 'lower'} is better, {report.when} epoch"
    counts = ", ".join(f"{count} {state}" for state, count in report.counts.items())
    lines = [f"{report.name}: {len(report.outcomes)} jobs: {counts}", unit]
    names = short_names(report.parameters)
    scored = [point for point in report.points if point.score is not None]
    rows = [["mean", "±95 %", "behind", "p", "seeds", *names.values()]]
    for point in scored[:MOST_LINES]:
        score, behind = point.score, point.behind
        assert score is not None
        difference, p = (behind.mean, behind.p) if behind else (None, None)
        told = [f"{score.mean:.4g}", _told(score.half), _told(difference), _told(p, ".2f"), str(score.count)]
        rows.append([*told, *point.values.values()])
    # Numbers are set to the right, and columns without one are left out.
    kept = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in kept]
    if scored:
        lines.append("")
    for row in zip(*kept, strict=True):
        cells = [
            cell.ljust(width) if number >= len(kept) - len(names) else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(cells).rstrip()
        lines.append(line if len(line) <= columns else line[: columns - 1] + "…")
    if len(scored) > MOST_LINES:
        lines.append(f"... and {len(scored) - MOST_LINES} more")
    if report.importance:
        # By chance a share may come out a little below 0, and the others together above 1.
        shares = [
            f"{names[key]} {min(1.0, max(0.0, share)):.0%}" for key, share in report.importance.parameters.items()
        ]
        if report.importance.interactions is not None:
            shares.append(f"their combinations {report.importance.interactions:.0%}")
        shares.append(f"chance {report.importance.chance:.0%}")
        lines += ["", "what the differences go with: " + ", ".join(shares)]
    for outcome in [o for o in report.outcomes if o.state in ("failed", "diverged")][:MOST_LINES]:
        reason = outcome.job.reason or (outcome.job.result or {}).get("reason") or ""
        lines.append(f"{outcome.state}: {outcome.job.name}" + f": {reason}" * bool(reason))
    return "\n".join(lines)


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
                "reason": outcome.job.reason or (outcome.job.result or {}).get("reason") or "",
            }
            for outcome in report.outcomes
        ],
        "effects": [
            {"key": key, "values": [{**asdict(effect), "value": effect.value} for effect in found]}
            for key, found in report.effects.items()
        ],
        "importance": asdict(report.importance) if report.importance else None,
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


def _plain(found: Interval | None) -> dict[str, Any] | None:
    return asdict(found) if found else None


def _cells(found: Interval | None) -> list[float | None]:
    """Return mean, standard deviation, and both ends of the interval."""
    if found is None:
        return [None] * 4
    ends = [None, None] if found.half is None else [found.mean - found.half, found.mean + found.half]
    return [found.mean, found.sd, *ends]


def _told(number: float | None, form: str = ".3g") -> str:
    return "" if number is None else f"{number:{form}}"
