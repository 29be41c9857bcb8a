"""Images that tests write to disk, and a source that reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hookline.data import Source
from hookline.data.video import VideoWriter


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
    picture(number, **options).save(path, quality=95)
    return path


def write_folder(
    folder: Path,
    classes: Iterable[str] | Mapping[str, int] = ("cat", "dog"),
    count: int = 5,
    first: int = 0,
    name: str = "{}.jpg",
    **options,
) -> Path:
    """Write a folder of pictures for each class, `count` of them or as many as a mapping says, no two of them alike."""
    counts = classes if isinstance(classes, Mapping) else dict.fromkeys(classes, count)
    for label, its in counts.items():
        for number in range(its):
            write_picture(folder / label / name.format(number), first + number, **options)
        first += its
    return folder


def write_film(path: Path, frames: int = 12, height: int = 48, width: int = 64) -> Path:
    """Write a video of 10 frames a second: a bright half changes its side in the middle."""
    with VideoWriter(path, Fraction(10)) as video:
        for number in range(frames):
            pixels = np.full((height, width, 3), 20, np.uint8)
            pixels[:, slice(width // 2) if number < frames // 2 else slice(width // 2, None)] = 230
            video.write(pixels)
    return path


class Photos(Source):
    """The JPEGs in `root/<split>/<class>`, or in `root/<class>` where there is no folder of the split."""

    def __init__(self, *, split: str, root: str) -> None:
        super().__init__(split=split)
        folder = Path(root) / split if (Path(root) / split).is_dir() else Path(root)
        self.paths = sorted(folder.glob("*/*.jpg"))
        self.classes = tuple(sorted(path.name for path in folder.iterdir()))
        self.reads: list[int] = []

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def targets(self) -> Tensor:
        return torch.tensor([self.classes.index(path.parent.name) for path in self.paths])

    def name_of(self, index: int) -> str:
        return str(self.paths[index])

    def read(self, index: int) -> Tensor:
        self.reads.append(index)
        with Image.open(self.paths[index]) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
