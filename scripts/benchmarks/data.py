"""Images per second of hookline's training pipeline against torchvision's, on Fashion-MNIST, on one core.

Both shuffle, pad by two pixels and crop at random, flip at random, make float32 of the pixels and normalise them, in
batches of 128; every image has draws of its own.

    hookline     hookline.data.FashionMNIST: the data set as a tensor, transforms that work on a batch
    torchvision  torchvision.datasets.FashionMNIST, transforms.v2 on every image (ToImage, RandomCrop,
                 RandomHorizontalFlip, ToDtype, Normalize), DataLoader(batch_size=128, shuffle=True, num_workers=0)

They take turns in one process on one thread. A round is a whole epoch of hookline, what an epoch starts with included,
and the first `--images` of an epoch of torchvision, timed from when its first batch has come.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import sys
import tempfile
from pathlib import Path

import torch
from _common import CLOCKS, TimedPass, interleave, machine, positive, report, spread, table
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import v2

from hookline.config.errors import ConfigError
from hookline.data import FashionMNIST, InMemoryLoader, Normalize, RandomCrop, RandomHorizontalFlip
from hookline.data.sets.fashion_mnist import PARTS
from hookline.data.sets.idx import find_idx

BATCH = 128
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder of the IDX files (default: where data=fashion_mnist looks)")
    parser.add_argument("--rounds", type=positive, default=10, help="rounds, each with both (default 10)")
    parser.add_argument("--images", type=positive, default=6400, help="images of a round of torchvision (default 6400)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="time or the process's CPU time (default wall)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    args = parser.parse_args()

    torch.set_num_threads(1)
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
        batches = max(1, args.images // BATCH)

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
