"""Runs for the test of resuming anywhere; its functions are called in processes of their own."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from hookline.checkpoint import read, write
from hookline.config import resolvers
from hookline.config.paths import conf
from hookline.experiment import build_runner
from hookline.hooks import Hook
from hookline.job import Job


class SmallNet(nn.Module):
    """A convolution, batch norm and dropout before a classifier."""

    def __init__(self, num_classes: int, in_chans: int, **unused: object) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_chans, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(2)
        )
        self.fc = nn.Linear(32, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.body(images).flatten(1))


class SaveEverywhere(Hook):
    """Write the state each time that it can be taken."""

    priority = 100

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def between_updates(self, runner) -> None:
        write(self.folder / f"{runner.clock.iter:02d}-{runner.clock.epoch}.pt", runner.state_dict())


def compose_config(overrides: list[str]):
    resolvers.register()
    with initialize_config_dir(str(conf()), version_base="1.3"):
        return compose("train", overrides)


def train(folder: Path, overrides: list[str], resume: Path | None = None, states: Path | None = None) -> dict[str, str]:
    """Train to the end, and return a digest of everything that lasts, by name."""
    torch.set_num_threads(1)
    runner = build_runner(compose_config(overrides), Job(folder))
    if states is not None:
        runner.register_hooks([SaveEverywhere(states)])
    runner.run(read(resume) if resume else None)
    found = {name: digest(part) for name, part in runner.state_dict()["parts"].items()}
    # The files' lengths in it are this folder's own.
    found["hooks.logger"] = digest(runner.state_dict()["parts"]["hooks.logger"]["window"])
    found["best"] = digest(runner.best)
    found["metrics.csv"] = digest(without_times((folder / "metrics.csv").read_text()))
    found["lr_curve.png"] = hashlib.sha256((folder / "lr_curve.png").read_bytes()).hexdigest()
    return found


def without_times(table: str) -> list[list[str]]:
    rows = [line.split(",") for line in table.splitlines()]
    keep = [i for i, name in enumerate(rows[0]) if not name.startswith(("time/", "throughput/"))]
    return [[row[i] for i in keep] for row in rows]


def digest(content: Any) -> str:
    """Return a hash of every bit of a nested structure, but for what is a measured time."""
    whole = hashlib.sha256()
    for piece in pieces(content):
        whole.update(piece)
    return whole.hexdigest()


def pieces(content: Any) -> Iterator[bytes]:
    if isinstance(content, Tensor):
        yield f"{content.dtype}{tuple(content.shape)}".encode()
        yield content.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if content.numel() else b""
    elif isinstance(content, Mapping):
        for key in sorted(content, key=str):
            if not str(key).startswith(("time/", "throughput/")):
                yield str(key).encode()
                yield from pieces(content[key])
    elif isinstance(content, list | tuple):
        yield b"["
        for value in content:
            yield from pieces(value)
    elif isinstance(content, float):
        yield struct.pack("<d", content)
    else:
        yield repr(content).encode()
