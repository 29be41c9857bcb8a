"""What an update and a reduction cost here, and what follows for many GPUs: docs/scaling.md has the formulas.

Measured here: an update of a model on one process, and an all-reduce of as many bytes as its gradients have between
`--processes` processes: by NCCL where there are so many GPUs, else by gloo over the CPU's memory. Rounds take turns: an
update, then the reductions.

Computed: the table for `--gpus`. What a GPU does in a second, and how fast and how soon links carry bytes, are options,
as nothing of it can be measured on a CPU; their defaults are published figures of an A100 in a DGX A100.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import timm
import torch
from _common import machine, positive, report, spread, table
from _reductions import reduce_seconds
from torch.nn.functional import cross_entropy

from hookline.data import Batch
from hookline.engine import Forward, Update

# Of images of ImageNet's training set on average: 138 GB for 1,281,167 files.
IMAGE_BYTES = 108e3
# What one core loads a second for training, as docs/benchmarks.md has it: crop and flip of JPEGs.
IMAGES_OF_A_CORE = 807


@dataclass(frozen=True)
class Cluster:
    """What GPUs and links do.

    Attributes:
        images_per_second: of training on one GPU.
        inside: bytes a second that a GPU sends to others of its node.
        across: bytes a second that all GPUs of a node together send to another one.
        latency: seconds of each step of a reduction.
        node: GPUs in a node.
        efficiency: share of the links' bandwidth that is reached.
    """

    images_per_second: float = 2470.0
    inside: float = 300e9
    across: float = 200e9
    latency: float = 10e-6
    node: int = 8
    efficiency: float = 0.8

    def bandwidth(self, gpus: int) -> float:
        """Return the bytes a second of the slowest link of a ring through so many GPUs."""
        # A node's GPUs have a ring each through its network cards, so together they have all of them.
        slowest = self.inside if gpus <= self.node else min(self.inside, self.across)
        return self.efficiency * slowest

    def steps(self, gpus: int) -> int:
        """Return the steps of a reduction one after the other: along a node's GPUs, and up and down a tree of nodes."""
        nodes = -(-gpus // self.node)
        return 2 * (min(gpus, self.node) - 1) + 2 * math.ceil(math.log2(nodes))

    def reduction(self, size: float, gpus: int) -> float:
        """Return its seconds: `2 (n - 1) / n * size / bandwidth + steps * latency`."""
        return 2 * (gpus - 1) / gpus * size / self.bandwidth(gpus) + self.steps(gpus) * self.latency


@dataclass(frozen=True)
class Projection:
    """What follows for a number of GPUs.

    Attributes:
        gpus: how many.
        batch: images of an update, all GPUs together.
        update_ms: what each of them computes for one.
        reduce_ms: the reduction by itself.
        worst: share of the time spent computing if the reduction begins when all gradients are there.
        best: the same if all buckets but the last are reduced while gradients are computed.
        images_per_second: with `best`.
        cores: that load JPEGs for each GPU.
        read_gb_per_second: of image files, all GPUs together.
    """

    gpus: int
    batch: int
    update_ms: float
    reduce_ms: float
    worst: float
    best: float
    images_per_second: float
    cores: float
    read_gb_per_second: float


def project(
    cluster: Cluster, gpus: int, *, gradient: float, batch: int, most: int, bucket: float = 25 * 2**20
) -> Projection:
    """Return what follows for so many GPUs.

    Args:
        cluster: what its parts do.
        gpus: how many.
        gradient: bytes of the gradients.
        batch: images that a GPU gets, where the whole batch is not too large.
        most: images of a whole batch at most.
        bucket: bytes that DDP reduces together (`bucket_cap_mb`).
    """
    own = max(1, min(batch, most // gpus))
    update = own / cluster.images_per_second
    reduce = cluster.reduction(gradient, gpus)
    # The backward pass is two thirds of an update's work. The buckets before the last are reduced under it as far as
    # they fit; the last one's gradients come when it is over.
    last = cluster.reduction(min(bucket, gradient), gpus)
    before = max(0.0, gradient / bucket - 1) * cluster.reduction(bucket, gpus)
    shown = last + max(0.0, before - update * 2 / 3)
    best = update / (update + shown)
    speed = best * gpus * own / update
    return Projection(
        gpus=gpus,
        batch=own * gpus,
        update_ms=1000 * update,
        reduce_ms=1000 * reduce,
        worst=update / (update + reduce),
        best=best,
        images_per_second=speed,
        cores=speed / gpus / IMAGES_OF_A_CORE,
        read_gb_per_second=speed * IMAGE_BYTES / 1e9,
    )


def update_seconds(name: str, batch: int, size: int, device: torch.device, rounds: int) -> tuple[list[float], int]:
    """Return how long each update took, and the bytes of the gradients."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=1000).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    precision = "bf16" if device.type == "cuda" else "fp32"
    update = Update(
        forward=Forward(model, precision=precision, channels_last=True), loss=cross_entropy, optimizer=optimizer
    )
    images, labels = torch.rand(batch, 3, size, size, device=device), torch.arange(batch, device=device)
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        update(Batch(images, labels, labels))
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return seconds[1:], sum(p.numel() * p.element_size() for p in model.parameters())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, compute and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50", help="a model of timm (resnet50)")
    parser.add_argument("--rounds", type=positive, default=5, help="of each measurement (5)")
    parser.add_argument("--measured-batch", type=positive, default=8, help="images of the update measured here (8)")
    parser.add_argument("--size", type=positive, default=224, help="their height and width (224)")
    parser.add_argument("--processes", type=positive, default=2, help="of the reduction measured here (2)")
    parser.add_argument("--gpus", type=positive, nargs="+", default=[1, 8, 64, 512], help="numbers to compute for")
    parser.add_argument("--batch", type=positive, default=256, help="images that a GPU gets of an update (256)")
    parser.add_argument("--most", type=positive, default=32768, help="images of a whole batch at most (32768)")
    parser.add_argument("--images-per-second", type=float, default=2470, help="of training on one GPU (2470)")
    parser.add_argument("--inside", type=float, default=300, help="GB/s that a GPU sends inside its node (300)")
    parser.add_argument("--across", type=float, default=200, help="GB/s that a node's GPUs send to another one (200)")
    parser.add_argument("--latency", type=float, default=10, help="microseconds of a step of a reduction (10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    args = parser.parse_args(arguments)

    found = machine()
    on_gpus = torch.cuda.device_count() >= args.processes
    backend, device = ("nccl", torch.device("cuda")) if on_gpus else ("gloo", torch.device("cpu"))
    updates, gradient = update_seconds(args.model, args.measured_batch, args.size, device, args.rounds)
    small = 4
    reductions = reduce_seconds(args.processes, [small, gradient], args.rounds, backend)
    update, first, whole = spread(updates), spread(reductions[small]), spread(reductions[gradient])
    share = 2 * (args.processes - 1) / args.processes
    bandwidth = share * gradient / max(whole.median - first.median, 1e-9)
    measured = table(
        ["measured", "median", "quartiles"],
        [
            [
                f"update of {args.model}, {args.measured_batch} images, {device.type}",
                f"{1000 * update.median:,.0f} ms",
                f"{1000 * update.low:,.0f} to {1000 * update.high:,.0f}",
            ],
            [
                f"reduction of its {gradient / 1e6:,.1f} MB, {args.processes} processes, {backend}",
                f"{1000 * whole.median:,.1f} ms",
                f"{1000 * whole.low:,.1f} to {1000 * whole.high:,.1f}",
            ],
            [
                f"reduction of {small} bytes",
                f"{1e6 * first.median:,.0f} us",
                f"{1e6 * first.low:,.0f} to {1e6 * first.high:,.0f}",
            ],
            ["bandwidth of the reduction", f"{bandwidth / 1e9:,.2f} GB/s", ""],
        ],
    )
    cluster = Cluster(args.images_per_second, 1e9 * args.inside, 1e9 * args.across, 1e-6 * args.latency)
    rows = [project(cluster, gpus, gradient=gradient, batch=args.batch, most=args.most) for gpus in args.gpus]
    computed = table(
        ["GPUs", "batch", "update", "reduction", "efficiency", "images/s", "cores/GPU", "read"],
        [
            [
                f"{row.gpus}",
                f"{row.batch:,}",
                f"{row.update_ms:.0f} ms",
                f"{row.reduce_ms:.2f} ms",
                f"{100 * row.worst:.0f} to {100 * row.best:.0f} %",
                f"{row.images_per_second:,.0f}",
                f"{row.cores:.1f}",
                f"{row.read_gb_per_second:.2f} GB/s",
            ]
            for row in rows
        ],
    )
    report(
        "Scaling",
        found,
        f"{measured}\n\nComputed, not measured:\n{computed}",
        {
            "measured": {
                "backend": backend,
                "gradient_bytes": gradient,
                "update_seconds": update._asdict(),
                "reduction_seconds": whole._asdict(),
                "latency_seconds": first._asdict(),
                "bandwidth": bandwidth,
            },
            "computed": [asdict(row) for row in rows],
        },
        args.json,
    )


if __name__ == "__main__":
    main()
