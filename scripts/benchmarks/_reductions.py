"""How long processes take to reduce tensors; a module of its own, as the processes import it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing


def reduce_in_process(
    rank: int, count: int, sizes: Sequence[int], rounds: int, backend: str, file: str, into: Any
) -> None:
    """Reduce tensors of these bytes, and put the seconds of each round into the queue."""
    torch.set_num_threads(1)
    distributed.init_process_group(backend, init_method=f"file://{file}", rank=rank, world_size=count)
    device = torch.device("cuda", rank) if backend == "nccl" else torch.device("cpu")
    if backend == "nccl":
        torch.cuda.set_device(device)
    found: dict[int, list[float]] = {}
    for size in sizes:
        tensor = torch.zeros(max(1, size // 4), device=device)
        for _ in range(rounds + 1):
            distributed.barrier()
            began = time.perf_counter()
            distributed.all_reduce(tensor)
            if backend == "nccl":
                torch.cuda.synchronize()
            found.setdefault(size, []).append(time.perf_counter() - began)
    if rank == 0:
        into.put({size: values[1:] for size, values in found.items()})
    distributed.destroy_process_group()


def reduce_seconds(count: int, sizes: Sequence[int], rounds: int, backend: str) -> dict[int, list[float]]:
    """Return how long reductions of these bytes took between so many processes, by size."""
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        given = (count, list(sizes), rounds, backend, str(Path(folder, "meet")), queue)
        multiprocessing.spawn(reduce_in_process, args=given, nprocs=count)
        found: dict[int, list[float]] = queue.get()
    return found
