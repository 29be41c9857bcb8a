"""Batches of samples that are read and transformed one by one, by workers that are a few batches ahead."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ParameterError
from hookline.data import workers as work
from hookline.data.batch import Batch
from hookline.data.loader import SourceLoader
from hookline.data.sample_reader import SampleReader
from hookline.data.sampler import Order
from hookline.data.source import Source
from hookline.data.transforms.sample import SampleTransform

log = logging.getLogger(__name__)

WORKER_TYPES = ("thread", "process")

# More threads than this wait for one another, for the interpreter's lock.
MOST_WORKERS = 16

# How many names of broken files a line at an epoch's end shows.
SHOWN = 5


class SampleLoader(SourceLoader):
    """A loader (see `hookline.data.loader`) that reads each sample when its batch is near.

    Workers read and transform samples straight into the uint8 memory of their batch. Two batches are in work while the
    loop has a third, more where they are so small that workers would be idle: that, and no more, is the memory. The
    batched transforms and mixing follow on the device. On CUDA the memory is pinned, and the copy has a stream of its
    own.

    Args:
        source: what to load; several threads read from it at once.
        sample_transforms: per-sample transforms by name, applied in the order given, before all others.
        workers: how many threads or processes read; 0: the calling thread reads each batch when it is asked for.
        worker_type: `thread`, or `process` for transforms that hold the interpreter's lock.
        on_error: what to do about a sample that cannot be read: `raise` ends the run; `skip` takes another one in its
            place, in an evaluation with weight 0.
        options: see `SourceLoader`.

    Attributes:
        broken: what is wrong with the samples that could not be read so far, by index.
    """

    def __init__(
        self,
        source: Source,
        *,
        sample_transforms: Mapping[str, SampleTransform] | None = None,
        workers: int = 0,
        worker_type: str = "thread",
        on_error: str = "raise",
        **options: Any,
    ) -> None:
        super().__init__(source, **options)
        check_number("workers", workers, ge=0, le=1024, integer=True)
        check_choice("worker_type", worker_type, WORKER_TYPES)
        self.reader = SampleReader(
            source, sample_transforms or {}, sampler=self.sampler, seed=self.seed, on_error=on_error
        )
        self.workers = workers
        self.worker_type = worker_type
        self.broken: dict[int, str] = {}
        self._targets = source.targets
        self._shape: tuple[int, ...] | None = None
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def _read(self, order: Order, epoch: int, start: int) -> Generator[Batch]:
        if self._shape is None:  # which the memory of batches needs to be made
            place = start * self.batch_size
            first = int(order.samples[place]), int(order.repeats[place])
            self._shape = tuple(self.reader.read(*first, epoch, {})[0].shape)
        ahead = 2 + self.workers // self.batch_size if self.workers else 1
        numbers = iter(range(start, len(self)))
        taken = replaced = 0
        with self._workers(epoch, ahead) as begin:

            def ask(count: int) -> list[tuple[Tensor, work.Finish]]:
                parts = [(self._part(order.samples, n), self._part(order.repeats, n)) for n in islice(numbers, count)]
                return [(samples, begin(samples.tolist(), repeats.tolist())) for samples, repeats in parts]

            pending = deque(ask(ahead))
            while pending:
                samples, finish = pending.popleft()
                images, filled = finish()
                pending.extend(ask(1))
                used = torch.tensor([index for part in filled for index in part.samples])
                taken += len(samples)
                replaced += int((used != samples).sum())
                for part in filled:
                    self._tell(part.broken)
                if replaced and not pending:
                    self._sum_up(epoch, replaced, taken)
                yield self._batch(images, samples, used)

    def _workers(self, epoch: int, ahead: int) -> AbstractContextManager[work.Begin]:
        assert self._shape is not None
        pinned = self.device.type == "cuda"
        if self.workers == 0:
            return work.in_this_thread(self.reader, epoch, self._shape, pinned=pinned)
        if self.worker_type == "thread":
            return work.threads(self.reader, epoch, self._shape, workers=self.workers, pinned=pinned)
        return work.processes(
            self.reader,
            epoch,
            self._shape,
            workers=self.workers,
            batches=ahead,
            batch_size=self.batch_size,
            pinned=pinned,
        )

    def _batch(self, images: Tensor, samples: Tensor, used: Tensor) -> Batch:
        weights = None
        if not self.sampler.shuffle and not torch.equal(samples, used):
            weights = (samples == used).float()
        batch = Batch(images, self._targets[used], used, weights)
        return batch if self._stream is None else self._moved(batch, self._stream)

    def _moved(self, batch: Batch, stream: torch.cuda.Stream) -> Batch:
        """Return the batch on the GPU; the copy runs beside the work that the GPU still has to do."""
        parts = (batch.images, batch.targets, batch.indices, batch.weights)
        now = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(stream):
            moved = [None if p is None else p.pin_memory().to(self.device, non_blocking=True) for p in parts]
        now.wait_stream(stream)
        for part in moved:
            if part is not None:
                part.record_stream(now)  # so that its memory is not given away while `now` uses it
        images, targets, indices, weights = moved
        assert images is not None
        assert targets is not None
        assert indices is not None
        return Batch(images, targets, indices, weights)

    def _tell(self, broken: Mapping[int, str]) -> None:
        """Warn of samples that are found to be broken for the first time."""
        for index, text in broken.items():
            if index not in self.broken:
                self.broken[index] = text
                log.warning("data.on_error=skip: %s", text)

    def _sum_up(self, epoch: int, replaced: int, taken: int) -> None:
        """Say how many of the samples that this process took of an epoch were replaced, and which files are broken."""
        names = [self.source.name_of(index) for index in sorted(self.broken)]
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        when = f"epoch {epoch + 1}" if self.sampler.shuffle else "validation"
        whose = f" of process {self.rank}" if self.processes > 1 else ""
        message = "%s: %d of %d samples%s had to be replaced (data.on_error=skip); broken: %s"
        log.warning(message, when, replaced, taken, whose, shown)


def resolve_workers(wanted: int | str, *, cores: int, device: torch.device) -> int:
    """Return the number of workers for `auto` or a number.

    `auto` leaves one core to the loop that feeds a GPU, and half of them to a model that trains on the CPU.

    Args:
        wanted: `auto` or a number.
        cores: how many cores the process may use.
        device: what the model trains on.
    """
    if wanted == "auto":
        return max(1, min(MOST_WORKERS, cores // 2 if device.type == "cpu" else cores - 1))
    if isinstance(wanted, str):
        raise ParameterError("workers", wanted, "auto or an integer >= 0")
    check_number("workers", wanted, ge=0, le=1024, integer=True)
    return wanted
