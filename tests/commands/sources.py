"""Data sets that tell what a command reads of them, for configs to name."""

from __future__ import annotations

import torch
from torch import Tensor

from hookline.data import InMemorySource


class Closed(InMemorySource):
    """Knows its classes and the size of its images, and cannot be read."""

    classes = tuple("abcdefghijkl")
    channels = 1
    image_size = (8, 8)

    def load(self) -> tuple[Tensor, Tensor]:
        raise AssertionError(f"the {self.split} data were read")

    def read(self, index: int) -> Tensor:
        raise AssertionError(f"image {index} of the {self.split} data was read")


class TrainingOnly(Closed):
    """Has training images, and no validation images that could be read."""

    def load(self) -> tuple[Tensor, Tensor]:
        if self.split != "train":
            return super().load()
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (120, 1, 8, 8), dtype=torch.uint8, generator=generator)
        return images, torch.arange(120) % len(self.classes)
