"""Scalars for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

from hookline.job import Job
from hookline.loggers.event_file import EventFile
from hookline.loggers.sink import Row, Sink


class TensorBoardSink(Sink):
    """Write scalars against the iteration, counted from 0, into the run's `tensorboard` folder.

    Of a row of the history it takes what was evaluated (`val/...`): training's own numbers come as samples.
    """

    def open(self, job: Job, resumed: bool) -> None:
        self._file = EventFile(job.directory / "tensorboard")

    def write(self, numbers: Row, step: int) -> None:
        self._file.write(numbers, step)

    def write_row(self, history: Sequence[Row], step: int) -> None:
        evaluated = {name: value for name, value in history[-1].items() if name.startswith("val")}
        if evaluated:
            self._file.write(evaluated, step)
        self._file.flush()

    def flush(self) -> None:
        self._file.flush()

    def close(self, status: str) -> None:
        self._file.close()
