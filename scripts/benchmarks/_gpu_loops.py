"""The loops that hookline is compared with on a GPU: by hand, as timm's train.py runs, and over data on the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from _common import PassLoader, train_with_hookline
from _turns import TurnPass
from timm.scheduler import CosineLRScheduler
from timm.utils import AverageMeter
from torch import Tensor, nn
from torch.nn import functional as F

from hookline.data import InMemoryLoader, InMemorySource, Normalize, RandomCrop, RandomHorizontalFlip
from hookline.engine import Forward, Hook, Priority, Runner

Make = Callable[[], tuple[nn.Module, torch.optim.Optimizer]]
CLASSES, SIZE, PADDING = 10, 32, 2
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]


def bare_updates(batches: TurnPass, make: Make, device: torch.device, compiles: bool) -> None:
    """Train by hand: bf16, NHWC, compiled; nothing is read, logged or scheduled."""
    model, optimizer = make()
    model = model.to(memory_format=torch.channels_last).train()
    call = torch.compile(model) if compiles else model
    for images, labels in batches:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            loss = F.cross_entropy(call(images), labels)
        loss.backward()
        optimizer.step()


def timm_updates(batches: TurnPass, make: Make, device: torch.device, compiles: bool) -> None:
    """Train as timm 1.0's train.py does with `--amp --amp-dtype bfloat16 --channels-last --torchcompile`.

    In each update it reads the loss, sets the learning rate, and measures the time; it prints at every fiftieth.
    """
    model, optimizer = make()
    model = model.to(memory_format=torch.channels_last).train()
    call = torch.compile(model) if compiles else model
    scheduler = CosineLRScheduler(optimizer, t_initial=len(batches), t_in_epochs=False)
    losses, data_time, update_time = AverageMeter(), AverageMeter(), AverageMeter()
    asked = began = time.time()
    for number, (images, labels) in enumerate(batches):
        data_time.update(time.time() - asked)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            loss = F.cross_entropy(call(images), labels)
        loss.backward()
        optimizer.step()
        losses.update(loss.item(), len(images))
        optimizer.zero_grad()
        now = time.time()
        update_time.update(now - began)
        began = now
        if number % 50 == 0:
            rates = [group["lr"] for group in optimizer.param_groups]
            _ = f"{number} {losses.val:.3g} {losses.avg:.3g} {update_time.avg:.3f} {data_time.avg:.3f} {sum(rates):.3e}"
        scheduler.step_update(num_updates=number + 1, metric=losses.avg)
        asked = time.time()


def hookline_updates(
    batches: TurnPass, make: Make, device: torch.device, compiles: bool, folder: Path, val: Any
) -> None:
    """Train with hookline's runner, its default hooks and loggers."""
    model, optimizer = make()
    forward = Forward(model, precision="bf16", channels_last=True, compile=compiles)
    train_with_hookline(model, optimizer, PassLoader(batches), PassLoader(val), folder, forward=forward)


class SmallImages(InMemorySource):
    """Random images of CIFAR-10's size, uint8 `[N, 3, 32, 32]`."""

    classes = tuple(str(number) for number in range(CLASSES))
    channels = 3
    image_size = (SIZE, SIZE)

    def __init__(self, count: int) -> None:
        super().__init__(split="train")
        self.count = count

    def load(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        shape = (self.count, 3, SIZE, SIZE)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator), torch.arange(self.count) % CLASSES


def small_model(width: int) -> nn.Module:
    """Return a net of three blocks of two convolutions each, as wide and as deep as cifar10-airbench's."""

    def block(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(after),
            nn.GELU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.GELU(),
        )

    torch.manual_seed(0)
    widths = (24, width, 4 * width, 4 * width)
    blocks = [block(before, after) for before, after in pairwise(widths)]
    head = nn.Linear(widths[-1], CLASSES, bias=False)
    return nn.Sequential(nn.Conv2d(3, 24, 2), nn.GELU(), *blocks, nn.AdaptiveMaxPool2d(1), nn.Flatten(), head)


def small_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Return Nesterov SGD with its fused kernel, which hookline chooses too."""
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.85, weight_decay=0.015, nesterov=True, fused=True)


def airbench_batches(images: Tensor, labels: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an epoch of normalised images on the device: all are flipped and cropped at once, then shuffled.

    This is how cifar10-airbench feeds its nets (https://github.com/KellerJordan/cifar10-airbench).
    """
    count = len(images)
    flip = torch.rand(count, 1, 1, 1, device=images.device) < 0.5
    images = torch.where(flip, images.flip(-1), images)
    padded = F.pad(images, [PADDING] * 4, mode="reflect")
    shifts = torch.randint(0, 2 * PADDING + 1, (count, 2), device=images.device)
    places = torch.arange(SIZE, device=images.device)
    rows, columns = shifts[:, :1] + places, shifts[:, 1:] + places
    each = torch.arange(count, device=images.device).view(-1, 1, 1)
    cropped = padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    order = torch.randperm(count, device=images.device)
    for start in range(0, count, batch_size):
        part = order[start : start + batch_size]
        yield cropped[part], labels[part]


def bare_epochs(
    source: SmallImages,
    *,
    width: int,
    batch_size: int,
    epochs: int,
    device: torch.device,
    compiles: bool,
    finish: Callable[[], None],
) -> float:
    """Return the images a second of whole epochs by hand, after a first one that is not counted."""
    model = small_model(width).to(device).to(memory_format=torch.channels_last).train()
    optimizer, call = small_optimizer(model), torch.compile(model) if compiles else model
    normalize = Normalize(MEAN, STD)
    images = normalize(source.images.to(device), torch.empty(0)).contiguous(memory_format=torch.channels_last)
    labels = source.targets.to(device)
    began = 0.0
    for epoch in range(epochs + 1):
        if epoch == 1:
            finish()
            began = time.perf_counter()
        for part, targets in airbench_batches(images, labels, batch_size):
            with torch.autocast(device.type, torch.bfloat16):
                loss = F.cross_entropy(call(part), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    finish()
    return epochs * len(images) / (time.perf_counter() - began)


class EpochTimer(Hook):
    """Notes when the second epoch begins, and when the last one has ended."""

    priority = Priority.LOWEST

    def __init__(self, finish: Callable[[], None]) -> None:
        self.finish = finish
        self.began = self.ended = 0.0

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.clock.epoch == 1:
            self.finish()
            self.began = time.perf_counter()

    def after_train_epoch(self, runner: Runner) -> None:
        self.finish()
        self.ended = time.perf_counter()


def hookline_epochs(
    source: SmallImages,
    *,
    width: int,
    batch_size: int,
    epochs: int,
    device: torch.device,
    compiles: bool,
    finish: Callable[[], None],
    folder: Path,
) -> float:
    """Return the images a second of whole epochs with hookline: its loader, default hooks and loggers."""
    model = small_model(width).to(device)
    loader = InMemoryLoader(
        source,
        batch_size=batch_size,
        transforms={
            "crop": RandomCrop(PADDING),
            "flip": RandomHorizontalFlip(),
            "normalize": Normalize(MEAN, STD),
        },
        shuffle=True,
        device=device,
    )
    forward = Forward(model, precision="bf16", channels_last=True, compile=compiles)
    timer = EpochTimer(finish)
    train_with_hookline(
        model,
        small_optimizer(model),
        loader,
        None,
        folder,
        *("evaluation=none", "checkpoint=none"),
        forward=forward,
        epochs=epochs + 1,
        hooks=[timer],
    )
    return epochs * len(source) / (timer.ended - timer.began)
