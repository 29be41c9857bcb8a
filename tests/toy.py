"""A runner small enough to follow by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hookline.data import InMemoryLoader, InMemorySource, Normalize
from hookline.engine import Forward, Runner, Update
from hookline.hooks import Hook
from hookline.metrics import CrossEntropyLoss, TopK
from hookline.schedules import Clock


class ToySource(InMemorySource):
    """`samples` random images 1x2x2 in `classes` classes, the same for training and validation."""

    channels = 1
    image_size = (2, 2)

    def __init__(self, samples: int = 20, classes: int = 3, seed: int = 0, split: str = "train") -> None:
        super().__init__(split=split)
        self.classes = tuple(str(number) for number in range(classes))
        self.samples = samples
        self.seed = seed

    def load(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        images = torch.randint(0, 256, (self.samples, 1, 2, 2), dtype=torch.uint8, generator=generator)
        return images, torch.arange(self.samples) % len(self.classes)


def toy_loader(samples: int = 20, classes: int = 3, batch_size: int = 4, **options: Any) -> InMemoryLoader:
    """Return a loader of `ToySource`."""
    transforms = {"normalize": Normalize([0.5], [0.5])}
    return InMemoryLoader(ToySource(samples, classes), batch_size=batch_size, transforms=transforms, **options)


def toy_model(classes: int = 3) -> nn.Module:
    """Return a linear model, the same each time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, classes))


def toy_runner(
    *hooks: Hook,
    samples: int = 20,
    classes: int = 3,
    batch_size: int = 4,
    lr: float = 0.1,
    model: nn.Module | None = None,
    loss: Any = None,
    optimizer: torch.optim.Optimizer | None = None,
    precision: str = "fp32",
    channels_last: bool = False,
    max_epochs: int | None = None,
    max_iters: int | None = None,
    loader: Any = None,
    update: Mapping[str, Any] | None = None,
    **options: Any,
) -> Runner:
    """Return a runner over `ToySource` with a linear model, SGD with momentum and these hooks; two epochs by default.

    Args:
        hooks: what is registered.
        update: further arguments of `Update`.
        options: further arguments of `Runner`; the rest is as their names say.
    """
    model = toy_model(classes) if model is None else model
    loader = toy_loader(samples, classes, batch_size, shuffle=True) if loader is None else loader
    if max_iters is None and max_epochs is None:
        max_epochs = 2
    return Runner(
        update=Update(
            forward=Forward(model, precision=precision, channels_last=channels_last),
            loss=nn.CrossEntropyLoss() if loss is None else loss,
            optimizer=optimizer or torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9),
            **(update or {}),
        ),
        train_loader=loader,
        val_loader=toy_loader(samples, classes, batch_size),
        metrics=[CrossEntropyLoss(), TopK(1), TopK(5)],
        clock=Clock.for_run(len(loader), max_epochs=max_epochs, max_iters=max_iters),
        hooks=hooks,
        **options,
    )


def timeless(row: Mapping[str, float]) -> dict[str, float]:
    """Return a row of the history without what was measured of time, which no two runs share."""
    return {name: value for name, value in row.items() if not name.startswith(("time/", "throughput/"))}
