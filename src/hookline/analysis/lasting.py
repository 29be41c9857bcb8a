"""What lasts of a run, in digests: two runs with equal ones are the same to the last bit."""

from __future__ import annotations

import csv
import hashlib
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hookline.checkpoint import CheckpointFolder, read
from hookline.loggers.event_file import event_files

# What is measured of time and memory, which no two runs share.
MEASURED = ("time/", "throughput/", "memory/")


def lasting(run_dir: Path) -> dict[str, str]:
    """Return a digest of each thing that a finished run leaves, by name; times and memory are left out.

    These are the parts of the newest checkpoint (weights, optimizer, averages, history, ...), the one that did best,
    the table, TensorBoard's series, the LR chart, the names of the checkpoints, and the epochs that the log tells of.
    """
    folder = CheckpointFolder(run_dir / "checkpoints")
    found = folder.newest()
    parts = dict(found[1]["parts"]) if found else {}
    # The lengths of the files in it depend on when they were begun.
    parts["hooks.logger"] = {key: value for key, value in parts.get("hooks.logger", {}).items() if key != "sinks"}
    everything: dict[str, Any] = {**parts, "tensorboard": tensorboard_series(run_dir / "tensorboard")}
    best = folder.folder / "best.pt"
    everything["best"] = read(best)["parts"]["history"]["rows"][-1] if best.is_file() else None
    everything["checkpoints"] = sorted(path.name for path in folder.folder.glob("*"))
    table = run_dir / "metrics.csv"
    everything["metrics.csv"] = without_measured(table) if table.is_file() else None
    chart = run_dir / "lr_curve.png"
    everything["lr_curve.png"] = hashlib.sha256(chart.read_bytes()).hexdigest() if chart.is_file() else None
    log = run_dir / "train.log"
    everything["train.log"] = epochs_of(log) if log.is_file() else None
    return {name: digest(content) for name, content in everything.items()}


def tensorboard_series(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the scalars of a folder's event files as TensorBoard shows them: by tag, pairs of step and value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not event_files(folder):
        return {}
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith(MEASURED)]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in sorted(tags)}


def without_measured(table: Path) -> list[list[str]]:
    """Return the rows of a CSV file without the columns of times and memory."""
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    keep = [place for place, name in enumerate(rows[0]) if not name.startswith(MEASURED)]
    return [[row[place] for place in keep] for row in rows]


def epochs_of(log: Path) -> list[str]:
    """Return the epochs whose ends a log tells of, in order."""
    lines = [line.partition(": epoch ")[2] for line in log.read_text().splitlines()]
    return [line.split()[0] for line in lines if line and " lr " in line and " iter " not in line]


def digest(content: Any) -> str:
    """Return a hash of every bit of a nested structure, but for times and memory."""
    whole = hashlib.sha256()
    for piece in _pieces(content):
        whole.update(piece)
    return whole.hexdigest()


def _pieces(content: Any) -> Iterator[bytes]:
    if isinstance(content, Tensor):
        yield f"{content.dtype}{tuple(content.shape)}".encode()
        yield content.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if content.numel() else b""
    elif isinstance(content, Mapping):
        for key in sorted(content, key=str):
            if not str(key).startswith(MEASURED):
                yield str(key).encode()
                yield from _pieces(content[key])
    elif isinstance(content, list | tuple):
        yield b"["
        for value in content:
            yield from _pieces(value)
    elif isinstance(content, float):
        yield struct.pack("<d", content)
    else:
        yield repr(content).encode()
