"""Directories of sweeps as a launcher leaves them, without a training."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml


def write_job(
    folder: Path,
    overrides: Mapping[str, Any],
    scores: Sequence[float] = (),
    *,
    seed: int = 0,
    status: str = "completed",
    monitor: str = "val/top1",
    reason: str | None = None,
    iters_per_epoch: int = 10,
    unsaid: Mapping[str, Any] | None = None,
    choices: Mapping[str, str] | None = None,
) -> None:
    """Write a run directory of a plain multirun.

    Args:
        folder: its place.
        overrides: values by dotted key; they are in the config, too.
        scores: the monitored number of each epoch.
        seed: is an override, too.
        status: what the run says of itself; an empty text: nothing yet.
        monitor: the number that is monitored.
        reason: why the run ended so.
        iters_per_epoch: the learning rate rises through the first epoch.
        unsaid: further values by dotted key, which no override names.
        choices: the options of config groups, by group.
    """
    config: dict[str, Any] = {"seed": seed, "evaluation": {"monitor": monitor, "mode": "max"}}
    for key, value in {**overrides, **(unsaid or {})}.items():
        node = config
        *above, last = key.split(".")
        for part in above:
            node = node.setdefault(part, {})
        node[last] = value
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    hydra = {"hydra": {"runtime": {"choices": dict(choices or {})}}}
    (folder / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump(hydra))
    given = [*(f"{key}={'null' if value is None else value}" for key, value in overrides.items()), f"seed={seed}"]
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(given, allow_unicode=True))
    rows = [
        {
            "epoch": epoch + 1,
            "iterations": (epoch + 1) * iters_per_epoch,
            "lr": 0.1,
            monitor: score,
            "val/loss": 1 - score / 100,
        }
        for epoch, score in enumerate(scores)
    ]
    if rows:
        with (folder / "metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0]])
            writer.writeheader()
            writer.writerows(rows)
        with (folder / "lr_curve.csv").open("w", newline="") as file:
            last = len(rows) * iters_per_epoch - 1
            csv.writer(file).writerows(
                [["iter", "epoch", "lr_base"], [0, 0, 0.0], [iters_per_epoch, 1, 0.1], [last, len(rows) - 1, 0.1]]
            )
    if not status:
        return
    if status == "running":
        write(folder / "status.json", {"status": "running", "pid": 1, "host": "elsewhere"})
        return
    write(folder / "status.json", {"status": status})
    best = max(rows, key=lambda row: row[monitor], default={})
    final = rows[-1] if rows else {}
    result = {"status": status, "monitor": monitor, "best": best, "final": final, "seconds": 1.5}
    write(folder / "result.json", result | ({"reason": reason} if reason else {}))


def write(path: Path, content: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(content))


def write_grid(folder: Path, scores: Mapping[tuple[Any, Any], Sequence[float]]) -> Path:
    """Write a multirun over `warmup` and `lr`, whose points have a final score for each seed."""
    number = 0
    for (warmup, lr), finals in scores.items():
        for seed, final in enumerate(finals):
            values = {"lr_schedule.warmup": warmup, "optimizer.lr": lr}
            write_job(folder / str(number), values, [10.0, 50.0, final], seed=seed)
            number += 1
    return folder
