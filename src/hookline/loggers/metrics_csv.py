"""One row of numbers for each epoch."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hookline.config.files import replacing
from hookline.job import Job
from hookline.loggers.sink import Row, Sink

COLUMNS = (
    "epoch",
    "iterations",
    "lr",
    "train/loss",
    "val/loss",
    "val/top1",
    "val/top5",
    "time/epoch",
    "time/data",
    "time/data_share",
    "throughput/images_per_second",
)


class MetricsCSVSink(Sink):
    """Write the run's history to `metrics.csv`, numbers in full precision.

    `epoch` counts from 1, `iterations` is how many were done by then, `lr` the largest learning rate of the parameter
    groups in the last iteration, times are in seconds. What was not measured is empty.
    """

    def open(self, job: Job, resumed: bool) -> None:
        self._path: Path = job.directory / "metrics.csv"

    def resume(self, state: Mapping[str, Any], step: int, history: Sequence[Row]) -> None:
        self._write(history)

    def write_row(self, numbers: Row, step: int, history: Sequence[Row]) -> None:
        self._write(history)

    def _write(self, history: Sequence[Row]) -> None:
        extra = [name for row in history for name in row if name not in COLUMNS]
        with replacing(self._path) as path, path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*COLUMNS, *dict.fromkeys(extra)])
            writer.writeheader()
            writer.writerows(history)
