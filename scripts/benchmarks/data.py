"""Images per second of hookline's training pipeline against torchvision's: Fashion-MNIST in memory, or JPEGs on disk.

Fashion-MNIST, on one core.

Both shuffle, pad by two pixels and crop at random, flip at random, make float32 of the pixels and normalise them, in
batches of 128; every image has draws of its own.

    hookline     hookline.data.FashionMNIST: the data set as a tensor, transforms that work on a batch
    torchvision  torchvision.datasets.FashionMNIST, transforms.v2 on every image (ToImage, RandomCrop,
                 RandomHorizontalFlip, ToDtype, Normalize), DataLoader(batch_size=128, shuffle=True, num_workers=0)

They take turns in one process on one thread. A round is a whole epoch of hookline, what an epoch starts with included,
and the first `--images` of an epoch of torchvision, timed from when its first batch has come.

With `--jpegs`: files of 500x375 pixels, quality 90, cut out of real photographs (scikit-learn's, and scikit-image's
where it is installed), in the page cache; made 224x224, float32 and normalised, in batches of 64.

    train        RandomResizedCrop, flip
    randaugment  the same and RandAugment
    val          Resize to 256, CenterCrop
    raw, jpeg    train, hookline's images from a cache of that kind

    usual        torchvision.datasets.ImageFolder, Pillow, transforms v1, DataLoader
    hookline     hookline.data.SampleLoader, threads

Each loads by itself (0 workers: images/s of a core) and with each number of `--workers`. They take turns in one
process, in which freed memory is kept, as in a run; a round is `--images` of each, in mid-epoch.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from _common import CLOCKS, TimedPass, interleave, machine, positive, report, spread, table
from _jpegs import TASKS, hookline_batches, make_jpegs, usual_batches
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import v2

from hookline.config.errors import ConfigError
from hookline.data import FashionMNIST, InMemoryLoader, Normalize, RandomCrop, RandomHorizontalFlip
from hookline.data.sets.fashion_mnist import PARTS
from hookline.data.sets.idx import find_idx
from hookline.engine.memory import keep_freed_memory

BATCH = 128
JPEG_BATCH = 64
JPEGS = 256
PADDING = 2
MEAN, STD = [0.2860], [0.3530]


def hookline_loader(root: str | None) -> tuple[FashionMNIST, InMemoryLoader]:
    """Return hookline's source and loader."""
    source = FashionMNIST(split="train", root=root)
    transforms = {
        "crop": RandomCrop(padding=PADDING),
        "flip": RandomHorizontalFlip(),
        "normalize": Normalize(MEAN, STD),
    }
    return source, InMemoryLoader(source, batch_size=BATCH, transforms=transforms, shuffle=True)


def torchvision_loader(root: Path, folder: Path) -> DataLoader:
    """Return the usual loader over the files in `root`, which torchvision wants unpacked, in a layout of its own."""
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in (name for names in PARTS.values() for name in names):
        path = find_idx(root, name) or find_idx(root / "FashionMNIST" / "raw", name)
        assert path is not None  # hookline has read it
        content = path.read_bytes()
        (raw / name).write_bytes(gzip.decompress(content) if path.suffix == ".gz" else content)
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomCrop(28, padding=PADDING),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    data = datasets.FashionMNIST(str(folder), train=True, transform=transform)
    return DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=0)


def measure_jpegs(
    tasks: list[str], rounds: int, images: int, workers: list[int], clock: str, json: Path | None
) -> None:
    """Measure the loaders from disk, and print."""
    found = machine()
    keep_freed_memory()
    timed = max(1, images // JPEG_BATCH)

    def contestant(batches: Callable[..., Iterator[Any]], folder: Path, task: str, number: int) -> Callable[[], float]:
        # Batches that are ready when the clock starts are made up for by those that are ready when it stops.
        further = 2 + 2 * max(number, 2)

        def measure() -> float:
            count = (timed + further) * JPEG_BATCH
            epoch = batches(TASKS[task], folder, workers=number, batch_size=JPEG_BATCH, images=count)
            with_time = TimedPass(epoch, timed=timed, skip=1, clock=CLOCKS[clock])
            for _ in with_time:
                pass
            return timed * JPEG_BATCH / with_time.seconds

        return measure

    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "files")
        make_jpegs(files, min(JPEGS, images))
        contestants = {}
        for task in tasks:
            cached = TASKS[task].cache
            # What a cache is compared with does the same from the files.
            sides = [("usual", "train" if cached else task, usual_batches), ("hookline", task, hookline_batches)]
            for number in (0, *workers):
                for side, what, batches in sides:
                    contestants[f"{what}, {number} workers, {side}"] = contestant(batches, files, what, number)
        measured = interleave(contestants, rounds)
    rows, ratios = [], {}
    for name, values in measured.items():
        what, loaders, side = name.split(", ")
        middle, shown = spread(values), ""
        if side == "hookline":
            usual = measured[f"{'train' if TASKS[what].cache else what}, {loaders}, usual"]
            ratio = spread([own / other for own, other in zip(values, usual, strict=True)])
            ratios[f"{what}, {loaders}"] = ratio._asdict()
            shown = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        rows.append([name, f"{middle.median:,.0f}", f"{middle.low:,.0f} to {middle.high:,.0f}", shown])
    report(
        f"JPEGs of 500x375, quality 90, batches of {JPEG_BATCH}, {rounds} rounds, {clock} clock",
        found,
        table(["", "images/s", "quartiles", "times the usual"], rows),
        {
            "rounds": rounds,
            "clock": clock,
            "images_per_second": {name: spread(values)._asdict() for name, values in measured.items()},
            "ratio": ratios,
        },
        json,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder of the IDX files (default: where data=fashion_mnist looks)")
    parser.add_argument("--rounds", type=positive, default=10, help="rounds, each with both (default 10)")
    parser.add_argument("--images", type=positive, help="images of a round of torchvision (default 6400; JPEGs 512)")
    parser.add_argument("--jpegs", action="store_true", help="measure JPEGs on disk instead of Fashion-MNIST")
    parser.add_argument("--workers", type=positive, nargs="+", default=[2], help="with --jpegs: workers (default 2)")
    parser.add_argument(
        "--tasks", choices=TASKS, nargs="+", default=list(TASKS), help="with --jpegs: which (default all)"
    )
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="time or the process's CPU time (default wall)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    args = parser.parse_args()

    torch.set_num_threads(1)
    if args.jpegs:
        measure_jpegs(args.tasks, args.rounds, args.images or 512, args.workers, args.clock, args.json)
        return
    found = machine()
    clock = CLOCKS[args.clock]
    try:
        source, loader = hookline_loader(args.root)
    except ConfigError as error:
        sys.exit(str(error))
    epoch = itertools.count()

    def hookline() -> float:
        start = clock()
        count = sum(len(batch) for batch in loader.batches(next(epoch)))
        return count / (clock() - start)

    with tempfile.TemporaryDirectory() as folder:
        usual = torchvision_loader(source.root, Path(folder))
        batches = max(1, (args.images or 6400) // BATCH)

        def torchvision() -> float:
            timed = TimedPass(usual, timed=batches, skip=1, clock=clock)
            for _ in itertools.islice(timed, len(timed)):
                pass
            return batches * BATCH / timed.seconds

        measured = interleave({"hookline": hookline, "torchvision": torchvision}, args.rounds)

    ratio = spread([own / other for own, other in zip(measured["hookline"], measured["torchvision"], strict=True)])
    rows = []
    for name, values in measured.items():
        middle = spread(values)
        rows.append([name, f"{middle.median:,.0f}", f"{middle.low:,.0f} to {middle.high:,.0f}"])
    rows.append(["ratio", f"{ratio.median:.1f}", f"{ratio.low:.1f} to {ratio.high:.1f}"])
    report(
        f"Training pipeline on Fashion-MNIST, batches of {BATCH}, {args.rounds} rounds, {args.clock} clock",
        found,
        table(["", "images/s", "quartiles"], rows),
        {
            "rounds": args.rounds,
            "clock": args.clock,
            "images_per_second": {name: spread(values)._asdict() for name, values in measured.items()},
            "ratio": ratio._asdict(),
        },
        args.json,
    )


if __name__ == "__main__":
    main()
