"""Mean and standard deviation of pixels."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor

from hookline.config.errors import ConfigError
from hookline.data.source import InMemorySource, Source, read_image

# Images that are read of a source on disk: their mean is known to about a hundredth of a standard deviation.
ENOUGH = 1000


def mean_and_std_of(source: Source, most: int = ENOUGH) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of a source's pixels, per channel: of all images in memory, of some on disk.

    Args:
        source: the training images.
        most: how many are read of a source that is not in memory; they lie at equal distances.
    """
    source.check()
    if isinstance(source, InMemorySource):
        return moments_of(counts_of(source.images.transpose(0, 1)))
    count = min(most, len(source))
    counts = []
    for number in range(count):
        # Whether a broken file ends the run is for the loader to say.
        with suppress(Exception, SystemExit):
            counts.append(counts_of(read_image(source, number * len(source) // count)))
    if not counts:
        raise ConfigError(f"data: none of {count} images can be read, {source.name_of(0)} among them")
    return moments_of(torch.stack(counts).sum(dim=0))


def counts_of(pixels: Tensor) -> Tensor:
    """Return how often each value occurs in each channel of uint8 pixels `[C, ...]`: int64 `[C, 256]`."""
    return torch.stack([torch.bincount(channel, minlength=256) for channel in pixels.flatten(1)])


def moments_of(counts: Tensor) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel, for pixels in [0, 1], of how often each value occurs."""
    # Sums of integers: exact, and no float copy of the data set.
    values = torch.arange(256, dtype=torch.float64) / 255
    mean, std = [], []
    for channel in counts.double():
        share = channel / channel.sum()
        m = float((share * values).sum())
        mean.append(m)
        std.append(max(float((share * (values - m) ** 2).sum()) ** 0.5, 1e-8))
    return mean, std
