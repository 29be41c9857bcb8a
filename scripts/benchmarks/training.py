"""Images per second of training with hookline against a bare loop over tensors in memory, on Fashion-MNIST.

Both train the same timm model from the same weights with the same optimizer (SGD, momentum, weight decay) on batches
of 128, in rounds that take turns in one process.

    bare      zero_grad, forward, cross_entropy, backward, step, over float batches that were normalised beforehand and
              lie in memory: no shuffling, no augmentation, nothing read or written
    hookline  the runner with every hook of conf/hooks/default.yaml, over its own training pipeline: shuffled, padded,
              cropped, flipped and normalised batch by batch

The time of `--batches` iterations is taken, for hookline from the very start of an epoch. Evaluation, checkpoint and
charts come after it. "ratio" is hookline over bare, the median over the rounds and its quartiles.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from _common import (
    PassLoader,
    TimedPass,
    interleave,
    machine,
    positive,
    report,
    spread,
    table,
    train_with_hookline,
)
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hookline.config.errors import ConfigError
from hookline.data import FashionMNIST, InMemoryLoader, Normalize, RandomCrop, RandomHorizontalFlip
from hookline.engine.device import resolve_device

BATCH = 128
MEAN, STD = [0.2860], [0.3530]


def make_model(name: str, device: torch.device) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return the model and its optimizer, both new and always the same."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10, in_chans=1).to(device)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)


class Tuples:
    """A loader's first epoch as `(images, labels)`, for a pass that is timed like all others."""

    def __init__(self, loader: InMemoryLoader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self._loader.batches(0):
            yield batch.images, batch.targets


def bare(batches: TimedPass, model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Train by hand."""
    model.train()
    for images, labels in batches:
        optimizer.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()


def hookline(batches: TimedPass, model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path, *, val: Any) -> None:
    """Train with hookline's runner, its default hooks and loggers."""
    train_with_hookline(model, optimizer, PassLoader(batches), PassLoader(val), folder)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["test_resnet", "resnet18"], help="timm models (default both)")
    parser.add_argument("--batches", type=positive, help="timed batches of a run (default 200, resnet18 on a CPU 20)")
    parser.add_argument("--rounds", type=positive, default=5, help="rounds, each with a run of both (default 5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    parser.add_argument("--root", help="folder of the IDX files (default: where data=fashion_mnist looks)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    args = parser.parse_args()

    found = machine()
    try:
        device = resolve_device(args.device)
        source = FashionMNIST(split="train", root=args.root)
        loader = InMemoryLoader(
            source,
            batch_size=BATCH,
            transforms={
                "crop": RandomCrop(padding=2),
                "flip": RandomHorizontalFlip(),
                "normalize": Normalize(MEAN, STD),
            },
            shuffle=True,
            device=device,
        )
    except (ConfigError, ValueError) as error:
        sys.exit(str(error))
    finish = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    images, labels, normalize = source.images.to(device), source.targets.to(device), Normalize(MEAN, STD)

    rows, numbers = [], {}
    for name in args.model:
        count = args.batches or (20 if name == "resnet18" and device.type == "cpu" else 200)
        if count >= len(loader):
            sys.exit(f"--batches {count}: an epoch has {len(loader)} batches, one is needed to end the run")
        ready = [
            (normalize(images[at : at + BATCH], torch.empty(0)), labels[at : at + BATCH])
            for at in range(0, (count + 1) * BATCH, BATCH)
        ]

        def measure(train: Callable[..., None], batches: Any, name: str = name, count: int = count) -> float:
            timed = TimedPass(batches, timed=count, finish=finish)
            model, optimizer = make_model(name, device)
            gc.collect()
            with tempfile.TemporaryDirectory() as folder:
                train(timed, model, optimizer, Path(folder))
            return count * BATCH / timed.seconds

        contestants = {
            "bare": partial(measure, bare, ready),
            "hookline": partial(measure, partial(hookline, val=ready[:1]), Tuples(loader)),
        }
        measured = interleave(contestants, args.rounds)
        speed = {who: spread(values) for who, values in measured.items()}
        ratio = spread([own / base for own, base in zip(measured["hookline"], measured["bare"], strict=True)])
        numbers[name] = {
            "batches": count,
            "images_per_second": {who: middle._asdict() for who, middle in speed.items()},
            "ratio": ratio._asdict(),
        }
        rows.append(
            [
                name,
                f"{speed['bare'].median:,.0f}",
                f"{speed['hookline'].median:,.0f}",
                f"{ratio.median:.3f}",
                f"{ratio.low:.3f} to {ratio.high:.3f}",
            ]
        )
    report(
        f"Training on Fashion-MNIST, batches of {BATCH}, {args.rounds} rounds, on {device}",
        found,
        table(["", "bare, images/s", "hookline", "ratio", "quartiles"], rows),
        {"rounds": args.rounds, "device": str(device), "models": numbers},
        args.json,
    )


if __name__ == "__main__":
    main()
