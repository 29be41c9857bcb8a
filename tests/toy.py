"""A runner small enough to follow by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from hookline.data import Normalize, TensorLoader
from hookline.engine import Runner


def toy_data(samples: int = 20, classes: int = 3, batch_size: int = 4, seed: int = 0) -> Any:
    """Return a data set of `samples` images 1x2x2 for training and for validation."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (samples, 1, 2, 2), dtype=torch.uint8, generator=generator)
    labels = torch.arange(samples) % classes
    transforms = [Normalize([0.5], [0.5])]
    return SimpleNamespace(
        train_loader=TensorLoader(images, labels, batch_size=batch_size, transforms=transforms, shuffle=True),
        val_loader=TensorLoader(images, labels, batch_size=batch_size, transforms=transforms),
    )


def toy_runner(*hooks, classes: int = 3, lr: float = 0.1, **options) -> Runner:
    """Return a runner over `toy_data` with a linear model, SGD with momentum and these hooks."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, classes))
    data = options.pop("data", None) or toy_data(classes=classes)
    length = {} if "max_iters" in options else {"max_epochs": 2}
    runner = Runner(
        model=model,
        data=data,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9),
        **({"device": "cpu"} | length | options),
    )
    runner.register_hooks(hooks)
    return runner
