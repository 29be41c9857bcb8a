"""One row of numbers per epoch."""

from __future__ import annotations

import csv

from hookline.config.files import replacing
from hookline.engine import Runner
from hookline.engine.hook import Hook, Priority

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
    "throughput/images_per_second",
)


class MetricsCSVHook(Hook):
    """Write `runner.history` to `metrics.csv` after each epoch, numbers in full precision.

    `epoch` counts from 1, `iterations` is how many were done by then, `lr` the first group's in the epoch's last
    iteration, times are in seconds. Without an evaluation in an epoch its `val/...` are empty.
    """

    priority = Priority.LOW

    def after_train_epoch(self, runner: Runner) -> None:
        extra = [name for row in runner.history for name in row if name not in COLUMNS]
        with replacing(runner.work_dir / "metrics.csv") as path, path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*COLUMNS, *dict.fromkeys(extra)])
            writer.writeheader()
            writer.writerows(runner.history)
