"""Everything as lines of JSON, for programs."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hookline.config.flat import settings
from hookline.job import Job
from hookline.loggers.sink import Row, Sink

NAME = "metrics.jsonl"


class JSONLinesSink(Sink):
    """Write a line of JSON for the run, for each sample and for each row of the history into `metrics.jsonl`.

    Every line has a `kind`. The first is the `run`, with its settings and where it comes from; a `sample` has the
    `step` and the numbers of an iteration, counted from 0; a `row` has those of an evaluation or of an epoch's end. A
    number that JSON has no word for is null. A run that goes on cuts the file back to its checkpoint.
    """

    def open(self, job: Job, resumed: bool) -> None:
        self._path: Path = job.directory / NAME
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._job = job
        self._file = self._path.open("a" if resumed else "w", encoding="utf-8")
        if not resumed:
            self._put_run()

    def write(self, numbers: Row, step: int) -> None:
        self._put({"kind": "sample", "step": step, **numbers})

    def write_row(self, numbers: Row, step: int, history: Sequence[Row]) -> None:
        row = {name: history[-1][name] for name in ("epoch", "iterations")}
        self._put({"kind": "row", "step": step, **row, **numbers})
        self._file.flush()

    def flush(self) -> None:
        self._file.flush()

    def close(self, status: str) -> None:
        self._file.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the file's length, whose content is on the disk by then."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
        return {"length": self._path.stat().st_size}

    def resume(self, state: Mapping[str, Any], step: int, history: Sequence[Row]) -> None:
        self._file.close()
        length = state.get("length", 0)
        if self._path.stat().st_size > length:
            os.truncate(self._path, length)
        self._file = self._path.open("a", encoding="utf-8")
        if not length:
            self._put_run()

    def _put_run(self) -> None:
        job = self._job
        self._put({"kind": "run", "config": settings(job.config), "origin": job.origin.facts})

    def _put(self, content: Mapping[str, Any]) -> None:
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in content.items()}
        self._file.write(json.dumps(finite) + "\n")
