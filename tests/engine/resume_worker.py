"""Runs for the test of resuming anywhere; its functions are called in processes of their own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from hookline.analysis.lasting import digest, without_measured
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
    found["metrics.csv"] = digest(without_measured(folder / "metrics.csv"))
    found["lr_curve.png"] = hashlib.sha256((folder / "lr_curve.png").read_bytes()).hexdigest()
    return found
