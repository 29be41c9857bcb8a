"""A model as files that other programs open, and the proof that they compute the same."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hookline.config.errors import ParameterError
from hookline.config.files import make_folder, naming

Logits = Callable[[Tensor], Tensor]


@dataclass
class Subject:
    """What is exported.

    Attributes:
        model: in eval mode, on the CPU, in the form that is exported.
        images: real ones `[N, C, H, W]`, as that form gets them.
        batch_size: how many images a graph takes at once; None for any number.
        about: what goes with the model: texts, numbers and lists of them, by name.
        preprocessing: what timm's transforms need to be told, by timm's names.
    """

    model: nn.Module
    images: Tensor
    batch_size: int | None = None
    about: dict[str, Any] = field(default_factory=dict)
    preprocessing: dict[str, Any] = field(default_factory=dict)

    @property
    def example(self) -> Tensor:
        """A batch to trace the model with; one image would be taken for the only size that there is."""
        count = self.batch_size or 2
        return torch.cat([self.images] * (count // len(self.images) + 1))[:count]


class Format:
    """A format: how a model is written, and how what was written is run."""

    def check(self, subject: Subject) -> None:
        """Raise `ParameterError` where the format cannot take the model or a package is missing."""

    def write(self, folder: Path, subject: Subject) -> None:
        """Write the files into a folder."""
        raise NotImplementedError

    def open(self, folder: Path, subject: Subject) -> Logits:
        """Return what was written, as a function from images `[B, C, H, W]` to logits."""
        raise NotImplementedError


class Normalized(nn.Module):
    """A model with its normalisation before it: `model((x - mean) / std)` for pixels in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model((images - self.mean) / self.std)
        return logits


@dataclass(frozen=True)
class Difference:
    """How far the logits of an export are from the model's own.

    Attributes:
        largest: the largest absolute difference of two logits.
        scale: the largest absolute logit, at least 1.
        images: how many were compared. decisions: of how many another class is the first.
    """

    largest: float
    scale: float
    images: int
    decisions: int


def export(format: Format, subject: Subject, expected: Tensor, out: Path, tolerance: float) -> Difference:
    """Write a model into a folder, once it was opened again and computed the same logits.

    Args:
        format: how.
        subject: what.
        expected: the logits `[N, classes]` of the model as it was trained.
        out: the folder, in which only files of the same names are replaced.
        tolerance: the largest difference that is taken, for logits of up to 1; for larger ones as a share of them.

    Raises:
        ParameterError: the format cannot take the model, or the logits differ by more.
    """
    format.check(subject)
    with _replacing_files(out) as beside:
        format.write(beside, subject)
        difference = compare(format.open(beside, subject), subject, expected)
        if not difference.largest <= tolerance * difference.scale:  # NaN is no agreement
            told = f"{difference.largest:.3g} or more, as much as the logits differ from PyTorch's"
            raise ParameterError("tolerance", tolerance, told)
    return difference


def compare(logits: Logits, subject: Subject, expected: Tensor) -> Difference:
    """Return how far the logits of the subject's images are from what is expected."""
    given = in_batches(logits, subject.images, subject.batch_size)
    others = given.argmax(1) != expected.argmax(1)
    scale = max(1.0, float(expected.abs().max()))
    return Difference(float((given - expected).abs().max()), scale, len(given), int(others.sum()))


def in_batches(logits: Logits, images: Tensor, batch_size: int | None) -> Tensor:
    """Return the logits of images, in batches of this size; where any will do, of the first one and of the others."""
    if batch_size is None:
        parts = [images[:1], images[1:]] if len(images) > 1 else [images]
    else:
        parts = list(torch.cat([images, *[images[:1]] * (-len(images) % batch_size)]).split(batch_size))
    with torch.inference_mode():
        return torch.cat([logits(part).float() for part in parts])[: len(images)]


@contextmanager
def _replacing_files(out: Path) -> Iterator[Path]:
    """Yield an empty folder; once all went well, move its files into `out`."""
    make_folder(out.parent)
    with naming(out), tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
        yield Path(place)
        out.mkdir(exist_ok=True)
        for file in sorted(Path(place).iterdir()):
            os.replace(file, out / file.name)
