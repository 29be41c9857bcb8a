"""Images that tests write to disk."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int = 0, size: tuple[int, int] = (24, 16)) -> Image.Image:
    """Return a smooth RGB picture of this width and height, another one for each number."""
    generator = np.random.default_rng(number)
    small = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    """Return an image as the content of a file."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write_picture(path: Path, number: int = 0, **options) -> Path:
    """Write a picture in the format of the path's extension, its folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(number, **options).save(path)
    return path


def write_folder(
    folder: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 5, first: int = 0, **options
) -> Path:
    """Write a folder of pictures for each class."""
    for label, name in enumerate(classes):
        for number in range(count):
            write_picture(folder / name / f"{number}.jpg", first + label * count + number, **options)
    return folder
