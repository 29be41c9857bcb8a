"""What is shown of a sweep while it runs: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import csv
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shutil import get_terminal_size
from types import TracebackType
from typing import Any

from hookline.job import STATUS_FILE
from hookline.loggers.streams import CLEAR_LINE, say
from hookline.sweep.jobs import ending, read_raw, read_state
from hookline.sweep.pool import OUTPUT
from hookline.sweep.slots import Slot

METRICS_FILE = "metrics.csv"

# Letters of a reason that are shown.
MOST_OF_REASON = 400

# How jobs end, in the report's words.
ENDINGS = ("done", "diverged", "pruned", "failed")
COLORS = {"done": "green", "diverged": "yellow", "pruned": "dim", "failed": "red"}


def columns() -> int | None:
    """Return how wide the terminal is, None where the output goes to a file or another program."""
    return get_terminal_size().columns if sys.stdout.isatty() else None


def span(seconds: float) -> str:
    """Return `h:mm:ss` or `m:ss`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def counted(states: Mapping[Path, Mapping[str, Any]]) -> str:
    """Return `done 10, diverged 1, failed 1, left 1`; of jobs that diverged, and of pruned ones, only if there are."""
    count = Counter(ended_as(job, state) or "left" for job, state in states.items())
    shown = [word for word in (*ENDINGS, "left") if count[word] or word in ("done", "failed", "left")]
    return ", ".join(f"{word} {count[word]}" for word in shown)


def ended_as(job: Path, state: Mapping[str, Any]) -> str | None:
    """Return one of `ENDINGS`: how a job has ended; None where it has not."""
    found = ending(job, state["state"], state.get("result"))
    return found if found in ENDINGS else None


def estimate(states: Mapping[Path, Mapping[str, Any]], slots: int) -> float | None:
    """Return the seconds that the jobs that are left may take: the mean of those done, spread over the slots."""
    done = [float(state["seconds"]) for state in states.values() if state["state"] == "done" and state.get("seconds")]
    left = sum(state["state"] not in ("done", "failed") for state in states.values())
    return sum(done) / len(done) * left / min(slots, max(1, left)) if done else None


def log_of(job: Path) -> Path:
    """Return where to read why a job failed: its log, or what its process printed where that has not got so far."""
    log = job / "train.log"
    return log if log.is_file() and log.stat().st_size else job / OUTPUT


def row_of(job: Path) -> dict[str, str]:
    """Return the latest row of a job's table, empty where there is none."""
    try:
        with (job / METRICS_FILE).open(newline="") as file:
            return dict(deque(csv.DictReader(file), maxlen=1)[0])
    except (OSError, IndexError, csv.Error, UnicodeDecodeError):  # it is only shown
        return {}


def composing(jobs: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Yield the overrides of jobs, and say how many are composed: on a terminal each in the line of the one before."""
    live = sys.stderr.isatty()
    if not live and len(jobs) > 1:
        print(f"composing {len(jobs)} jobs", flush=True)
    try:
        for number, job in enumerate(jobs, start=1):
            if live:
                print(f"{CLEAR_LINE}composing job {number} of {len(jobs)} ...", end="", file=sys.stderr, flush=True)
            yield job
    finally:
        if live:
            print(CLEAR_LINE, end="", file=sys.stderr, flush=True)


class Progress:
    """Shows what happens to the jobs of a launch.

    Args:
        jobs: their directories.
        monitor: the number that is shown of each.
        slots: how many run at a time.
    """

    def __init__(self, jobs: Sequence[Path], monitor: str, slots: int) -> None:
        self.states: dict[Path, Mapping[str, Any]] = {job: read_state(job) for job in jobs}
        self.monitor, self.slots = monitor, slots
        self._first: dict[Path, tuple[float, int]] = {}
        self._live: Any = None
        self._looked = 0.0

    def __enter__(self) -> Progress:
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def began(self, job: Path, slot: Slot) -> None:
        """Say that a job has begun, or goes on."""
        going_on = "goes on" if self.states[job].get("attempts") else "begins"
        if self._live is None:
            self._say(f"{going_on}: {job.name}{f' on {slot.device}' if slot.device else ''}")

    def ended(self, job: Path, state: str, reason: str | None) -> None:
        """Say what has become of a job; of a failure the reason, and where the log is, on stderr."""
        self.states[job] = found = read_state(job)
        self._first.pop(job, None)
        if state == "done":
            result = found.get("result") or {}
            best = (result.get("best") or {}).get(self.monitor)
            reached = (
                f"{self.monitor} {best:.4g}" if isinstance(best, int | float) else result.get("status", "no result")
            )
            diverged = f", {result['status']}" if result.get("status") in ("diverged", "stopped") else ""
            self._say(f"done: {job.name}: {reached}{diverged}, {span(float(found.get('seconds') or 0))}")
        elif state == "failed":
            # The log has all of it; its path must not be pushed out of sight.
            say(f"error in job {job.name}: {shortened(reason)}; log: {relative(log_of(job))}")
        else:
            self._say(f"{state}: {job.name}{f' ({shortened(reason)})' if reason else ''}")

    def look(self, running: Sequence[Path], elsewhere: Sequence[Path], waiting: int) -> None:
        """Draw the table anew, at most twice a second."""
        if self._live is not None and time.monotonic() - self._looked > 0.5:
            self._looked = time.monotonic()
            self._live.update(self._table(running, elsewhere), refresh=True)

    def _say(self, line: str) -> None:
        print(line, flush=True)

    def _table(self, running: Sequence[Path], elsewhere: Sequence[Path]) -> Any:
        from rich.table import Table

        left = estimate(self.states, self.slots)
        table = Table(caption=f"{counted(self.states)}{f'; about {span(left)} to go' if left else ''}", expand=True)
        table.add_column("job", no_wrap=True, ratio=1)
        heads = ("epoch", "loss", self.monitor, "ETA")
        for name in heads:
            table.add_column(name, justify="right", no_wrap=True)
        rows = [(job, self._cells(job), "") for job in running]
        rows += [(job, self._cells(job), "dim") for job in elsewhere]
        room = max(3, (self._live.console.height or 24) - len(rows) - 8)
        for job, word in [(job, word) for job, state in self.states.items() if (word := ended_as(job, state))][-room:]:
            row = row_of(job)
            told = ("", "") if word == "failed" else (number(row, "train/loss"), number(row, self.monitor))
            rows.append((job, (word, *told, ""), COLORS[word]))
        # Each column has a space on either side and a line behind it.
        taken = sum(3 + max(map(len, column)) for column in zip(heads, *(cells for _, cells, _ in rows), strict=True))
        names = told_apart([job.name for job, _, _ in rows], max(8, self._live.console.width - taken - 4))
        for name, (_, cells, style) in zip(names, rows, strict=True):
            table.add_row(name, *cells, style=style)
        return table

    def _cells(self, job: Path) -> tuple[str, str, str, str]:
        """Return epoch, loss, metric and remaining time of a job that runs."""
        try:
            status = read_raw(job / STATUS_FILE) if (job / STATUS_FILE).is_file() else {}
        except Exception:  # what is only shown must not end a sweep
            status = {}
        row, iteration, total = row_of(job), status.get("iter"), status.get("max_iters")
        if iteration is None or not total:
            return "starts", "", "", ""
        since, first = self._first.setdefault(job, (time.monotonic(), iteration))
        eta = ""
        if iteration > first:
            eta = span((time.monotonic() - since) / (iteration - first) * (total - iteration))
        epoch = f"{min(status['epoch'] + 1, status['max_epochs'])}/{status['max_epochs']}"
        return epoch, number(row, "train/loss"), number(row, self.monitor), eta


def told_apart(names: Sequence[str], room: int) -> list[str]:
    """Return names of jobs with at most so many characters each.

    What all of them have in common is left out of names that are too long, and of what is too long still the beginning.
    """
    if all(len(name) <= room for name in names):
        return list(names)
    parts = [name.split(",") for name in names]
    common = set.intersection(*map(set, parts)) if len(names) > 1 else set()
    short = [
        ",".join(part for part in one if part not in common) or name for one, name in zip(parts, names, strict=True)
    ]
    return [name if len(name) <= room else f"…{name[-room + 1 :]}" for name in short]


def number(row: Mapping[str, str], name: str) -> str:
    """Return a number of a table's row with four digits, an empty string where it is not there."""
    try:
        return f"{float(row[name]):.4g}"
    except (KeyError, ValueError):
        return ""


def shortened(reason: str | None) -> str:
    """Return a reason on one line, cut where it is too long."""
    text = " ".join(str(reason).split())
    return text if len(text) <= MOST_OF_REASON else f"{text[:MOST_OF_REASON]} ..."


def relative(path: Path) -> str:
    """Return a path as a person would type it: relative to the current folder if it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
