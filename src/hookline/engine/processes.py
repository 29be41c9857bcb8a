"""The processes that train together, and what they tell one another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from hookline.data.batch import share

T = TypeVar("T")


def call_counter() -> Callable[[], int]:
    """Return what says how many collective calls this process has made; all processes make them in the same order."""
    group = dist.GroupMember.WORLD
    assert group is not None
    backends = [group._get_backend(device) for device in group._device_types]
    return lambda: sum(backend._get_sequence_number_for_group() for backend in backends)  # type: ignore[attr-defined]


def of_collective(error: BaseException) -> bool:
    """Say whether an error comes from a collective call: gloo's are plain ones that name a line of its source."""
    words = r"gloo/\S+:\d+\]|^Application timeout caused pair closure"
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and re.search(words, str(error)) is not None
    )


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this one is; they hold the same model and share each batch.

    Every method but `first` and `part` is a collective call: all processes make it, in the same order. With one process
    none of them does anything. Tensors on a GPU go through the process group's backend for GPUs, what is Python's own
    through the one for CPUs, so that nothing waits for a device: the group is of `cpu:gloo,cuda:nccl` there.

    Attributes:
        rank: the number of this process, from 0.
        count: how many there are.
        local_rank: its number on its machine, and so the number of its GPU.
        local_count: how many there are on its machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def part(self, samples: int, rank: int | None = None) -> slice:
        """Return which samples of a batch are a process's share (see `hookline.data.batch.share`).

        Args:
            samples: the size of the whole batch.
            rank: whose; None for this process's.
        """
        return share(samples, self.rank if rank is None else rank, self.count)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether any process has raised it."""
        if self.count == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return tuple(map(bool, raised.tolist()))

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over the processes, of a tensor whose graph is not followed."""
        if self.count > 1:
            values = values.detach().clone()
            dist.all_reduce(values)
        return values

    def of_first(self, value: T) -> T:
        """Return what the first process gives: numbers, strings, lists, dicts and tensors on the CPU."""
        if self.count == 1:
            return value
        given = [value if self.first else None]
        dist.broadcast_object_list(given, device=torch.device("cpu"))
        return given[0]  # type: ignore[return-value]

    def of_each(self, value: T) -> list[T]:
        """Return what each process gives, by rank: numbers, strings, lists and dicts."""
        if self.count == 1:
            return [value]
        given: list[T] = [value] * self.count
        dist.all_gather_object(given, value)
        return given

    def whole(self, rows: Tensor, samples: int) -> Tensor:
        """Return the rows of all shares, in the order of the samples.

        Args:
            rows: what there is for each sample of this process's share, `[n, ...]`; rows beyond it are left out.
            samples: the size of the whole batch.
        """
        if self.count == 1:
            return rows
        sizes = [len(range(samples)[self.part(samples, rank)]) for rank in range(self.count)]
        filled = rows.new_zeros(sizes[0], *rows.shape[1:])
        filled[: sizes[self.rank]] = rows[: sizes[self.rank]]
        shares = [torch.empty_like(filled) for _ in sizes]
        dist.all_gather(shares, filled)
        return torch.cat([part[:size] for part, size in zip(shares, sizes, strict=True)])

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Give the tensors the values that they have in the first process."""
        if self.count == 1:
            return
        kinds = dict.fromkeys((tensor.dtype, tensor.device) for tensor in tensors)
        for kind in kinds:  # one broadcast for many small ones
            alike = [tensor for tensor in tensors if (tensor.dtype, tensor.device) == kind]
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in alike])
            dist.broadcast(flat, 0)
            with torch.no_grad():
                for tensor, values in zip(alike, flat.split([tensor.numel() for tensor in alike]), strict=True):
                    tensor.copy_(values.view_as(tensor))

    @contextmanager
    def first_ahead(self) -> Iterator[None]:
        """Let the first process go through a block before the others: what it puts into files, they find there."""
        if not self.first:
            self.any()
        yield
        if self.first:
            self.any()
