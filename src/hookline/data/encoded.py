"""Sources whose images are encoded files, or parts of files."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from hookline.data.decode import decode
from hookline.data.source import Source


class EncodedSource(Source):
    """A source of images in a format of image files, such as JPEG.

    To add one, write what `Source` asks for with `read_bytes` in place of `read`. Several threads call both at once,
    so they change nothing of the source, and what a worker process cannot take along is opened in them.
    """

    @abstractmethod
    def read_bytes(self, index: int) -> bytes:
        """Return a sample's encoded image."""

    def read(self, index: int) -> Tensor:
        """Return the image of a sample: uint8 `[C, H, W]`.

        Raises:
            hookline.data.decode.DecodeError: the image is broken.
        """
        return decode(self.read_bytes(index), channels=self.channels)
