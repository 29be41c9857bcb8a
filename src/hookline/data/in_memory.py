"""Batches out of tensors: an index, then the batched transforms. No workers, no Python for each sample."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from hookline.config.errors import ConfigError, first_line, told_of
from hookline.data.batch import Batch, on_device
from hookline.data.loader import SourceLoader
from hookline.data.sampler import Order
from hookline.data.source import InMemorySource, Source, read_image


class InMemoryLoader(SourceLoader):
    """A loader (see `hookline.data.loader`) over a source that is held as tensors on one device.

    Args:
        source: what to load; it is read at once.
        options: see `SourceLoader`; the tensors lie on `device`, too.
    """

    def __init__(self, source: Source, **options: Any) -> None:
        super().__init__(source, **options)
        images, targets = tensors_of(source)
        self._images, self._targets = images.to(self.device), targets.to(self.device)

    def _read(self, order: Order, epoch: int, start: int) -> Generator[Batch]:
        samples = on_device(order.samples, self.device)
        for number in range(start, len(self)):
            index = self._part(samples, number)
            yield Batch(self._images.index_select(0, index), self._targets.index_select(0, index), index)


def tensors_of(source: Source) -> tuple[Tensor, Tensor]:
    """Return a checked source's images, uint8 `[N, C, H, W]`, and labels, int64 `[N]`.

    Raises:
        ConfigError: labels and images do not fit, an image cannot be read, or they differ in size.
    """
    source.check()
    if isinstance(source, InMemorySource):
        return source.images, source.targets
    images = []
    for index in range(len(source)):
        try:
            images.append(read_image(source, index))
        except (Exception, SystemExit) as error:  # whatever a source raises about a file
            told = f"{source.name_of(index)} cannot be read: {first_line(told_of(error))}"
            raise ConfigError(f"data: {told}") from error
    sizes = {tuple(image.shape) for image in images}
    if len(sizes) > 1:
        shown = ", ".join("x".join(map(str, size)) for size in sorted(sizes)[:3])
        raise ConfigError(f"data: the images of {type(source).__name__} differ in size ({shown}, ...)")
    return torch.stack(images), source.targets
