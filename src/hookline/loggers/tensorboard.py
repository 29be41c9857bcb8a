"""Scalars for TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hookline.job import Job
from hookline.loggers.event_file import EventFile, event_files
from hookline.loggers.sink import Row, Sink


class TensorBoardSink(Sink):
    """Write scalars against the iteration, counted from 0, into the run's `tensorboard` folder.

    Of a row of the history it takes what was evaluated (`val/...`): training's own numbers come as samples. A run that
    goes on from a checkpoint cuts its files back to it and begins a new one, which tells TensorBoard from which step
    on: neither a viewer that is open nor one that is started later shows a point twice or misses one.
    """

    def open(self, job: Job, resumed: bool) -> None:
        self._folder: Path = job.directory / "tensorboard"
        self._file = None if resumed else EventFile(self._folder)

    # Made by `resume` where a run goes on.
    _file: EventFile | None

    def write(self, numbers: Row, step: int) -> None:
        assert self._file is not None
        self._file.write(numbers, step)

    def write_row(self, numbers: Row, step: int, history: Sequence[Row]) -> None:
        assert self._file is not None
        evaluated = {name: value for name, value in numbers.items() if name.startswith("val")}
        if evaluated:
            self._file.write(evaluated, step)
        self._file.flush()

    def close(self, status: str) -> None:
        if self._file is not None:
            self._file.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the length of each of the run's event files, whose content is on the disk by then."""
        if self._file is not None:
            self._file.sync()
        return {"files": {path.name: path.stat().st_size for path in event_files(self._folder)}}

    def resume(self, state: Mapping[str, Any], step: int, history: Sequence[Row]) -> None:
        self.close("resumed")
        lengths = state.get("files", {})
        for path in event_files(self._folder):
            length = lengths.get(path.name)
            if length is None:
                path.unlink()
            elif path.stat().st_size > length:
                os.truncate(path, length)
        self._file = EventFile(self._folder, first_step=step)
