"""JPEGs made of real photographs, and the two sides of a race over them: the usual loader, and hookline's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from PIL import Image
from torch.utils.data import DataLoader, RandomSampler
from torchvision import datasets, transforms

from hookline.data import ImageFolder, Normalize, SampleLoader, Source
from hookline.data.cache import CachedSource
from hookline.data.sampler import Sampler
from hookline.data.transforms.sample import (
    CenterCrop,
    RandAugment,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    SampleTransform,
)

SIZE = (500, 375)
QUALITY = 90
INPUT = 224
CROP_PCT = 0.875
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
        path.parent.mkdir(parents=True, exist_ok=True)
        cut.save(path, quality=QUALITY)


@dataclass
class Task:
    """What is done to the images.

    Attributes:
        usual: the transforms of the usual loader that come before ToTensor and Normalize.
        hookline: hookline's.
        cache: what hookline reads from, `raw` or `jpeg`; None: the files.
    """

    usual: Callable[[], list[Any]]
    hookline: Callable[[], dict[str, SampleTransform]]
    cache: str | None = None


def train_usual() -> list[Any]:
    """Return RandomResizedCrop and flip."""
    return [transforms.RandomResizedCrop(INPUT), transforms.RandomHorizontalFlip()]


def train_hookline() -> dict[str, SampleTransform]:
    """Return RandomResizedCrop and flip."""
    return {"crop": RandomResizedCrop(INPUT), "flip": RandomHorizontalFlip()}


TASKS = {
    "train": Task(train_usual, train_hookline),
    "randaugment": Task(
        lambda: [*train_usual(), transforms.RandAugment()], lambda: train_hookline() | {"randaugment": RandAugment()}
    ),
    "val": Task(
        lambda: [transforms.Resize(round(INPUT / CROP_PCT)), transforms.CenterCrop(INPUT)],
        lambda: {"resize": Resize(INPUT, crop_pct=CROP_PCT), "crop": CenterCrop(INPUT)},
    ),
    "raw": Task(train_usual, train_hookline, cache="raw"),
    "jpeg": Task(train_usual, train_hookline, cache="jpeg"),
}


def hookline_batches(
    task: Task, folder: Path, *, workers: int, batch_size: int, images: int, device: str = "cpu"
) -> Iterator[Any]:
    """Return an epoch of `images` images on the device, loaded by hookline; a cache is made beside the folder."""
    source: Source = ImageFolder(split="train", root=str(folder))
    if task.cache:
        source = CachedSource(source, cache=task.cache, cache_dir=folder.with_name("cache"))
    loader = SampleLoader(
        source,
        batch_size=batch_size,
        sample_transforms=task.hookline(),
        transforms={"normalize": Normalize(MEAN, STD)},
        sampler=Sampler(source.targets, shuffle=True, samples_per_epoch=images),
        workers=workers,
        device=device,
    )
    return loader.batches(0)


def usual_batches(
    task: Task, folder: Path, *, workers: int, batch_size: int, images: int, device: str = "cpu"
) -> Iterator[Any]:
    """Yield an epoch of `images` images on the device: ImageFolder, Pillow, transforms v1, a DataLoader that pins."""
    usual = transforms.Compose([*task.usual(), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    data = datasets.ImageFolder(str(folder), usual)
    sampler = RandomSampler(data, replacement=True, num_samples=images)
    pinned = device != "cpu"
    loader = DataLoader(data, batch_size=batch_size, sampler=sampler, num_workers=workers, pin_memory=pinned)
    for batch in loader:
        yield [part.to(device, non_blocking=True) for part in batch]
