"""JPEGs made of real photographs, and the two sides of a race over them: the usual loader, and hookline's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler
from torchvision import datasets, transforms
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import functional as F

from hookline.data import Normalize, SampleLoader, Source
from hookline.data.sampler import Sampler
from hookline.data.transforms.sample import SampleTransform

SIZE = (500, 375)
QUALITY = 90
INPUT = 224
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

# Photographs of at least half our size; what else scikit-image has are drawings, textures and tiny ones.
FROM_SKIMAGE = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


def photographs() -> list[Image.Image]:
    """Return scikit-learn's photographs, and scikit-image's if that is installed."""
    from sklearn.datasets import load_sample_images

    found = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    try:
        import skimage
    except ImportError:
        return found
    folder = Path(skimage.__file__).parent / "data"
    return found + [Image.open(folder / name).convert("RGB") for name in FROM_SKIMAGE if (folder / name).exists()]


def make_jpegs(folder: Path, count: int) -> None:
    """Write `count` JPEGs of 500x375 pixels, quality 90, into two folders of classes: cuts of the photographs."""
    originals, random = photographs(), numpy.random.default_rng(0)
    for number in range(count):
        original = originals[number % len(originals)]
        # A cut of three quarters to the whole of what has the right shape, so that no two files are the same.
        scale = min(original.width / SIZE[0], original.height / SIZE[1]) * random.uniform(0.75, 1)
        width, height = SIZE[0] * scale, SIZE[1] * scale
        left, top = random.uniform(0, original.width - width), random.uniform(0, original.height - height)
        cut = original.resize(SIZE, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
        path = folder / f"class_{number % 2}" / f"{number:04d}.jpg"
        path.parent.mkdir(exist_ok=True)
        cut.save(path, quality=QUALITY)


def decode(content: bytes) -> Tensor:
    """Decode by torchvision, where hookline's own function is not there."""
    return decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)


class Crop(SampleTransform):
    """RandomResizedCrop by torchvision, where hookline's own is not there."""

    def __call__(self, image: Tensor, random: numpy.random.Generator) -> Tensor:
        """Return a part of the image, resized."""
        height, width = image.shape[1:]
        for _ in range(10):
            area = height * width * random.uniform(0.08, 1)
            ratio = numpy.exp(random.uniform(numpy.log(3 / 4), numpy.log(4 / 3)))
            w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
            if w <= width and h <= height:
                break
        else:
            w = h = min(width, height)
        top, left = int(random.integers(height - h + 1)), int(random.integers(width - w + 1))
        return F.resized_crop(image, top, left, h, w, [INPUT, INPUT], antialias=True)


class Flip(SampleTransform):
    """A flip by torch, where hookline's own is not there."""

    def __call__(self, image: Tensor, random: numpy.random.Generator) -> Tensor:
        """Return the image or its mirror image."""
        return image.flip(-1) if random.random() < 0.5 else image


class Files(Source):
    """The JPEGs of a folder with a folder for each class."""

    def __init__(self, folder: Path) -> None:
        super().__init__(split="train")
        self.samples = datasets.ImageFolder(str(folder)).samples
        self.classes = ("class_0", "class_1")
        try:
            from hookline.data.decode import decode as own  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            own = decode
        self.decode = own

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def targets(self) -> Tensor:
        return torch.tensor([label for _, label in self.samples])

    def read(self, index: int) -> Tensor:
        return self.decode(Path(self.samples[index][0]).read_bytes())


def sample_transforms() -> dict[str, SampleTransform]:
    """Return RandomResizedCrop and flip: hookline's, or torchvision's where those are not there."""
    try:
        from hookline.data.transforms.sample import (  # type: ignore[attr-defined, unused-ignore]
            RandomHorizontalFlip,
            RandomResizedCrop,
        )
    except ImportError:
        return {"crop": Crop(), "flip": Flip()}
    return {"crop": RandomResizedCrop(INPUT), "flip": RandomHorizontalFlip()}


def hookline_batches(folder: Path, *, workers: int, batch_size: int, images: int) -> Iterator[Any]:
    """Return an epoch of `images` images, loaded by hookline."""
    source = Files(folder)
    loader = SampleLoader(
        source,
        batch_size=batch_size,
        sample_transforms=sample_transforms(),
        transforms={"normalize": Normalize(MEAN, STD)},
        sampler=Sampler(source.targets, shuffle=True, samples_per_epoch=images),
        workers=workers,
    )
    return loader.batches(0)


def usual_batches(folder: Path, *, workers: int, batch_size: int, images: int) -> Iterator[Any]:
    """Return an epoch of `images` images by ImageFolder, Pillow, transforms v1 and a DataLoader."""
    usual = transforms.Compose(
        [
            transforms.RandomResizedCrop(INPUT),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    data = datasets.ImageFolder(str(folder), usual)
    sampler = RandomSampler(data, replacement=True, num_samples=images)
    return iter(DataLoader(data, batch_size=batch_size, sampler=sampler, num_workers=workers))
