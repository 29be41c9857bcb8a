"""Data sets that fit into memory: tensors on the device, a training and a validation loader over them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from hookline.config.checks import check_number
from hookline.config.errors import ConfigError, ParameterError
from hookline.data.loader import TensorLoader
from hookline.data.transforms.batched import Normalize, Transform


class Split(NamedTuple):
    """Labelled images: uint8 `[N, C, H, W]` and int64 `[N]`."""

    images: Tensor
    labels: Tensor


class InMemoryData(ABC):
    """A labelled image data set held as tensors.

    To add one, subclass it, set `classes`, and write `load`.

    Args:
        batch_size: training samples that one update sees.
        val_batch_size: samples in a batch of validation.
        train_transforms: batched transforms of the training images alone, by name; a null entry is left out.
        transforms: batched transforms of all images, after the former; they may not be random. Normalisation with the
            training images' own mean and standard deviation follows, unless one of them is a `Normalize`.
        drop_last: leave out a last training batch smaller than the others. Validation never drops a sample.
        seed: of shuffling and augmentation.
        device: where the tensors lie.

    Attributes:
        train_loader: batches of transformed training images, `(images, labels)`.
        val_loader: batches of validation images.
        in_chans: channels of an image.
        num_classes: number of classes.
        class_counts: training samples of each class.
    """

    classes: tuple[str, ...]

    def __init__(
        self,
        *,
        batch_size: int = 128,
        val_batch_size: int = 512,
        train_transforms: Mapping[str, Transform | None] | None = None,
        transforms: Mapping[str, Transform | None] | None = None,
        drop_last: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        check_number("batch_size", batch_size, gt=0, integer=True)
        check_number("val_batch_size", val_batch_size, gt=0, integer=True)
        augment = [t for t in (train_transforms or {}).values() if t is not None]
        common = [t for t in (transforms or {}).values() if t is not None]
        for name, transform in (transforms or {}).items():
            if transform is not None and transform.draws:
                kind = type(transform).__name__
                raise ParameterError(
                    f"transforms.{name}", kind, "a transform without randomness (see train_transforms)"
                )
        train, val = self.load()
        for part, split in (("training", train), ("validation", val)):
            _check_split(type(self).__name__, part, split, len(self.classes))
        if drop_last and batch_size > len(train.images):
            raise ParameterError("batch_size", batch_size, f"at most {len(train.images)}, the training images")
        if not any(isinstance(t, Normalize) for t in common):
            common.append(Normalize(*_mean_std(train.images)))
        self.in_chans = train.images.shape[1]
        self.num_classes = len(self.classes)
        self.class_counts = torch.bincount(train.labels, minlength=self.num_classes)
        train, val = (Split(s.images.to(device), s.labels.to(device)) for s in (train, val))
        self.train_loader = TensorLoader(
            *train, batch_size=batch_size, transforms=augment + common, shuffle=True, drop_last=drop_last, seed=seed
        )
        self.val_loader = TensorLoader(*val, batch_size=val_batch_size, transforms=common)

    @abstractmethod
    def load(self) -> tuple[Split, Split]:
        """Return the training and the validation part, on the CPU."""


def _check_split(name: str, part: str, split: Split, classes: int) -> None:
    if len(split.images) == 0:
        raise ConfigError(f"data: {name} has no {part} images")
    if len(split.images) != len(split.labels):
        raise ConfigError(f"data: {name} has {len(split.images)} {part} images but {len(split.labels)} labels")
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise ConfigError(
            f"data: {name} has the {part} label {wrong}; with {classes} classes it must be 0 to {classes - 1}"
        )


def _mean_std(images: Tensor) -> tuple[list[float], list[float]]:
    # Sums of integers: exact, and no float copy of the data set.
    flat = images.transpose(0, 1).flatten(1)
    mean, std = [], []
    for channel in flat:
        counts = torch.bincount(channel, minlength=256).double()
        values = torch.arange(256, dtype=torch.float64) / 255
        share = counts / counts.sum()
        m = float((share * values).sum())
        mean.append(m)
        std.append(max(float((share * (values - m) ** 2).sum()) ** 0.5, 1e-8))
    return mean, std
