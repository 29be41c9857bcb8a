"""A source that holds its images in memory as they were read."""

from __future__ import annotations

import sys
from contextlib import suppress

from torch import Tensor
from tqdm import tqdm

from hookline.data.parallel import in_order
from hookline.data.source import Source, read_image


class HeldSource(Source):
    """Another source whose images are read once, by threads, and kept, whatever their sizes.

    An image that cannot be read is not kept: `read` then asks the source, which says why.

    Args:
        source: whose images these are.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(split=source.split)
        self.source = source
        self.classes, self.channels, self.image_size = source.classes, source.channels, source.image_size
        source.check()
        read = in_order(self._try, range(len(source)))
        told = f"reading the {source.split} images"
        self._images = list(tqdm(read, told, len(source), leave=False, disable=not sys.stderr.isatty()))

    def __len__(self) -> int:
        return len(self.source)

    @property
    def targets(self) -> Tensor:
        """The label of every sample: int64 `[N]`."""
        return self.source.targets

    def read(self, index: int) -> Tensor:
        """Return the image of a sample: uint8 `[C, H, W]`."""
        image = self._images[index]
        return read_image(self.source, index) if image is None else image

    def name_of(self, index: int) -> str:
        """Return what a message calls a sample."""
        return self.source.name_of(index)

    def fingerprint(self) -> str:
        """Return the source's."""
        return self.source.fingerprint()

    def _try(self, index: int) -> Tensor | None:
        with suppress(Exception, SystemExit):  # whatever a source raises about a file
            return read_image(self.source, index)
        return None
