"""What is shown of a sweep while it runs: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import csv
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from hookline.job import STATUS_FILE
from hookline.sweep.jobs import read_raw, read_state
from hookline.sweep.pool import OUTPUT
from hookline.sweep.slots import Slot

METRICS_FILE = "metrics.csv"


def span(seconds: float) -> str:
    """Return `h:mm:ss` or `m:ss`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def counted(states: Mapping[Path, Mapping[str, Any]]) -> str:
    """Return `done 10, failed 1, left 1`."""
    count = Counter(state["state"] for state in states.values())
    return f"done {count['done']}, failed {count['failed']}, left {len(states) - count['done'] - count['failed']}"


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
    except (OSError, IndexError):
        return {}


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
            reached = f"{self.monitor} {best:.4g}" if best is not None else result.get("status", "no result")
            diverged = f", {result['status']}" if result.get("status") in ("diverged", "stopped") else ""
            self._say(f"done: {job.name}: {reached}{diverged}, {span(float(found.get('seconds') or 0))}")
        elif state == "failed":
            print(f"error in job {job.name}: {reason}; log: {relative(log_of(job))}", file=sys.stderr, flush=True)
        else:
            self._say(f"{state}: {job.name}{f' ({reason})' if reason else ''}")

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
        table.add_column("job", overflow="ellipsis", no_wrap=True, ratio=1)
        for name in ("epoch", "loss", self.monitor, "ETA"):
            table.add_column(name, justify="right", no_wrap=True)
        for job in running:
            table.add_row(job.name, *self._cells(job))
        for job in elsewhere:
            table.add_row(job.name, *self._cells(job), style="dim")
        room = max(3, (self._live.console.height or 24) - len(running) - len(elsewhere) - 8)
        ended = [job for job, state in self.states.items() if state["state"] in ("done", "failed")]
        for job in ended[-room:]:
            failed = self.states[job]["state"] == "failed"
            row = row_of(job)
            cells = (
                ("failed", "", "", "") if failed else ("done", number(row, "train/loss"), number(row, self.monitor), "")
            )
            table.add_row(job.name, *cells, style="red" if failed else "green")
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


def number(row: Mapping[str, str], name: str) -> str:
    """Return a number of a table's row with four digits, an empty string where it is not there."""
    try:
        return f"{float(row[name]):.4g}"
    except (KeyError, ValueError):
        return ""


def relative(path: Path) -> str:
    """Return a path as a person would type it: relative to the current folder if it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
