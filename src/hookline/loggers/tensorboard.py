"""A run in TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hookline.config.flat import settings
from hookline.job import Job
from hookline.loggers.event_file import EventFile, event_files
from hookline.loggers.event_values import histogram, session_end, session_start, text
from hookline.loggers.sink import Row, Sink, beside_samples


class TensorBoardSink(Sink):
    """Write a run against the iteration, counted from 0, into its `tensorboard` folder.

    Of a row of the history it takes what was evaluated (`val/...`) and what hooks have logged: training's own numbers
    come as samples. The tab HParams has the run's settings and the last value of each scalar; the tab Text its config,
    command line, packages and what was changed in the code.

    A run that goes on from a checkpoint cuts its files back to it and begins a new one, which tells TensorBoard from
    which step on: neither a viewer that is open nor one that is started later shows a point twice or misses one.
    """

    def open(self, job: Job, resumed: bool) -> None:
        self._folder: Path = job.directory / "tensorboard"
        self._job = job
        self._file = None if resumed else self._new_file(0)

    # Made by `resume` where a run goes on.
    _file: EventFile | None

    def write(self, numbers: Row, step: int) -> None:
        self._written.write(numbers, step)

    def write_row(self, numbers: Row, step: int, history: Sequence[Row]) -> None:
        if evaluated := beside_samples(numbers):
            self._written.write(evaluated, step)
        self._written.flush()

    def picture(self, name: str, path: Path, step: int) -> None:
        self._written.write_picture(name, path.read_bytes(), step)

    def histogram(self, name: str, counts: Sequence[float], edges: Sequence[float], step: int) -> None:
        self._written.put([histogram(name, counts, edges)], step)

    def graph(self, definition: bytes) -> None:
        self._written.put_graph(definition)

    def flush(self) -> None:
        self._written.flush()

    def close(self, status: str) -> None:
        if self._file is not None:
            try:
                self._file.put([session_end(status in ("completed", "stopped"))], 0)
            finally:
                self._file.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the length of each of the run's event files, whose content is on the disk by then."""
        if self._file is not None:
            self._file.sync()
        return {"files": {path.name: path.stat().st_size for path in event_files(self._folder)}}

    def resume(self, state: Mapping[str, Any], step: int, history: Sequence[Row]) -> None:
        if self._file is not None:
            self._file.close()
        lengths = state.get("files", {})
        for path in event_files(self._folder):
            length = lengths.get(path.name)
            if length is None:
                path.unlink()
            elif path.stat().st_size > length:
                os.truncate(path, length)
        self._file = self._new_file(step)

    @property
    def _written(self) -> EventFile:
        assert self._file is not None
        return self._file

    def _new_file(self, step: int) -> EventFile:
        file = EventFile(self._folder, first_step=step)
        job, origin = self._job, self._job.origin
        file.put([session_start(settings(job.config), job.label)], step)
        packages = "\n".join(f"{name}=={version}" for name, version in origin.packages.items())
        texts = {"config": job.config, "command": origin.command, "packages": packages, "code": origin.git_diff}
        texts["code"] = "\n\n".join(filter(None, [origin.git_commit, texts["code"]]))
        # Four spaces before each line are Markdown's way to leave a text as it is.
        values = [text(f"run/{n}", "    " + t.replace("\n", "\n    ")) for n, t in texts.items() if t]
        file.put(values, step)
        return file
