"""A folder of small photographs and a source that reads it: what tests of the tools around data look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hookline.data import Source


def picture(seed: int, height: int = 60, width: int = 80) -> Image.Image:
    """Return a smooth picture, as photographs are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def write_photos(root: Path, counts: dict[str, int], height: int = 60, width: int = 80) -> Path:
    """Write so many JPEGs of each class into a folder each, no two of them alike."""
    for label, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            picture(1000 * label + number, height, width).save(root / name / f"{number:03}.jpg", quality=95)
    return root


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
