"""How fast a model is, and how much memory it takes."""

from __future__ import annotations

import statistics
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# A pass may take half a minute on a CPU.
LEAST_PASSES = 2


@dataclass(frozen=True)
class Speed:
    """What a forward pass over a batch takes.

    Attributes:
        batch_size: images in the batch.
        seconds: the median time of a pass.
        memory: bytes that the weights and, at the worst moment, the tensors of the pass take together.
    """

    batch_size: int
    seconds: float
    memory: int

    @property
    def images_per_second(self) -> float:
        """Images that go through the model in a second."""
        return self.batch_size / self.seconds


def measure(forward: Callable[[Tensor], Tensor], model: nn.Module, images: Tensor, seconds: float) -> Speed:
    """Return speed and memory of a forward pass, the median time of passes.

    Args:
        forward: from images to logits, on the images' device; it is called in inference mode.
        model: what it computes with, for the size of the weights.
        images: the batch `[B, C, H, W]`.
        seconds: how long it is measured at least, after two passes to warm up.
    """
    with torch.inference_mode():
        forward(images)
        memory = weight_bytes(model) + peak_bytes(forward, images)
        _wait_for(images.device)
        times: list[float] = []
        while len(times) < LEAST_PASSES or sum(times) < seconds:
            began = time.perf_counter()
            forward(images)
            _wait_for(images.device)
            times.append(time.perf_counter() - began)
    return Speed(len(images), statistics.median(times), memory)


def weight_bytes(model: nn.Module) -> int:
    """Return the bytes of a model's parameters and buffers."""
    return sum(tensor.nbytes for tensors in (model.parameters(), model.buffers()) for tensor in tensors)


def peak_bytes(forward: Callable[[Tensor], Tensor], images: Tensor) -> int:
    """Return the most bytes that the tensors of a forward pass take at a moment, the batch included.

    On a GPU it is what torch's allocator handed out, with the kernels' scratch space; elsewhere the sizes of the
    tensors that are alive after each operation are added, without what an operation takes inside.
    """
    if images.device.type == "cuda":
        before = torch.cuda.memory_allocated(images.device)
        torch.cuda.reset_peak_memory_stats(images.device)
        forward(images)
        return images.nbytes + torch.cuda.max_memory_allocated(images.device) - before
    with _LiveTensors() as live:
        forward(images)
    return images.nbytes + live.most


def _wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _LiveTensors(TorchDispatchMode):
    """Follow the bytes of the tensors that operations make, from when they are made until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._followed: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        # What an operation got is followed already, or was there before the pass; a view shares its memory.
        given = set(map(id, _storages((args, kwargs))))
        for storage in _storages(outputs):
            if id(storage) not in given and storage not in self._followed:
                self._followed.add(storage)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._let_go, storage.nbytes())
        self.most = max(self.most, self.now)
        return outputs

    def _let_go(self, size: int) -> None:
        self.now -= size


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
