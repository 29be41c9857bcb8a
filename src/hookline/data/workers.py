"""Who fills batches: the calling thread, threads, or processes.

Each is a context in which there is a function `begin(samples, repeats)`: it has the memory of a batch filled, in parts
that any worker takes, and returns a function `finish()` that waits for it and returns the images and what they are.
Leaving the context drops what has not begun, waits for what has, and leaves no thread and no process.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from math import prod
from multiprocessing import forkserver, parent_process, resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

import torch
from torch import Tensor

from hookline.config.errors import ConfigError, told_of
from hookline.data.sample_reader import Filled, SampleReader

Finish = Callable[[], tuple[Tensor, list[Filled]]]
Begin = Callable[[Sequence[int], Sequence[int]], Finish]

# Samples in a part at most: few enough for all workers to end together, and many enough for a hand-over not to count.
PART = 8

# No module of hookline: the server would look for it in other places than this process does.
PRELOADED = ["torch", "torchvision.transforms.v2", "hydra.main", "hydra.utils", "beartype.door", "tqdm"]

# What ends a run in order: see hookline.commands.signals.
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


@contextmanager
def in_this_thread(reader: SampleReader, epoch: int, shape: Sequence[int], *, pinned: bool) -> Iterator[Begin]:
    """Fill each batch when it is waited for."""

    def begin(samples: Sequence[int], repeats: Sequence[int]) -> Finish:
        def finish() -> tuple[Tensor, list[Filled]]:
            images = batch_memory(len(samples), shape, pinned=pinned)
            return images, [reader.fill(images, epoch, samples, repeats)]

        return finish

    yield begin


@contextmanager
def threads(reader: SampleReader, epoch: int, shape: Sequence[int], *, workers: int, pinned: bool) -> Iterator[Begin]:
    """Fill batches by `workers` threads."""
    # Operations on single images are not worth several threads each.
    pool = ThreadPoolExecutor(workers, "data", initializer=torch.set_num_threads, initargs=(1,))

    def begin(samples: Sequence[int], repeats: Sequence[int]) -> Finish:
        images = batch_memory(len(samples), shape, pinned=pinned)
        parts = [
            pool.submit(reader.fill, images[part], epoch, samples[part], repeats[part])
            for part in parts_of(len(samples), workers)
        ]
        return lambda: (images, results_of(parts))

    with leaving(pool):
        yield begin


@contextmanager
def processes(
    reader: SampleReader, epoch: int, shape: Sequence[int], *, workers: int, batches: int, batch_size: int, pinned: bool
) -> Iterator[Begin]:
    """Fill batches by `workers` processes, in memory that all of them share: that of `batches` batches."""
    try:
        content = pickle.dumps(reader)
    except Exception as error:  # whatever an object of somebody's raises
        raise ConfigError(
            f"data.worker_type=process: the data set or a transform cannot be sent to a process: {told_of(error)}"
        ) from error
    # Forking this process would copy the locks that its threads hold; a server without threads forks the workers, and
    # has imported what takes long.
    context = Recording()
    context.set_forkserver_preload(PRELOADED)
    begin_server()
    blocks = [context.RawArray("B", batch_size * prod(shape)) for _ in range(batches)]
    # For each worker its process id and the sample that it is at.
    places = context.RawArray("q", 2 * workers)
    arguments = (content, blocks, places, context.Value("i", 0))
    pool = ProcessPoolExecutor(workers, context, initializer=begin_worker, initargs=arguments)
    free = list(range(batches))

    def begin(samples: Sequence[int], repeats: Sequence[int]) -> Finish:
        block, size = free.pop(), (len(samples), *shape)
        parts = [
            pool.submit(fill_block, block, size, part, epoch, samples[part], repeats[part])
            for part in parts_of(len(samples), workers)
        ]

        def finish() -> tuple[Tensor, list[Filled]]:
            filled = results_of(parts)
            images = batch_memory(len(samples), shape, pinned=pinned).copy_(view_of(blocks[block], size))
            free.append(block)
            return images, filled

        return finish

    with leaving(pool):
        try:
            yield begin
        except BrokenProcessPool as error:
            # An exit code must not be read while the pool's thread reads it, too; a sentinel can be looked at by both.
            # It is not ready for a moment: when that thread has read the code and the server has not closed the pipe.
            ready = wait([process.sentinel for process in context.started], timeout=1)
            dead = [process for process in context.started if process.sentinel in ready]
            for process in context.started:
                process.kill()  # the pool sends them SIGTERM, which they do not get
            pool.shutdown()
            codes = {process.pid: process.exitcode for process in dead}
            raise ConfigError(f"data.worker_type=process: {death(codes, list(places), reader)}") from error
        except (EOFError, ConnectionError) as error:
            raise ConfigError("data.worker_type=process: the process that starts the workers was killed") from error


class Recording(ForkServerContext):
    """A context that knows the processes which it has made: a pool makes them as they are needed, and does not say."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[ForkServerProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> ForkServerProcess:  # type: ignore[override]
        self.started.append(ForkServerProcess(*args, **kwargs))
        return self.started[-1]


def death(codes: dict[int | None, int | None], places: list[int], reader: SampleReader) -> str:
    """Return how worker processes died, and over which sample.

    Args:
        codes: the exit codes of the dead by their process ids.
        places: for each worker its process id and the sample that it was at.
        reader: knows the samples' names.
    """
    at = dict(zip(places[::2], places[1::2], strict=True))
    told = []
    for pid, code in codes.items():
        how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
        if code == 255:  # what multiprocessing says where there is nobody to ask
            how += ", or the process that started it was killed,"
        sample = at.get(pid or 0, -1)
        told.append(f"worker process {pid} {how}" + (f" at {reader.told(sample)}" if sample >= 0 else ""))
    return ("; ".join(told) or "a worker process died") + " (if memory was short: fewer data.workers need less)"


def batch_memory(count: int, shape: Sequence[int], *, pinned: bool) -> Tensor:
    """Return memory for a batch, uint8 `[count, C, H, W]`."""
    with torch.inference_mode(False):  # what is made under it can be written to by no other thread
        return torch.empty(count, *shape, dtype=torch.uint8, pin_memory=pinned)


def parts_of(count: int, workers: int) -> list[slice]:
    """Return the parts of a batch that workers take one by one."""
    size = max(1, min(PART, -(-count // workers)))
    return [slice(start, start + size) for start in range(0, count, size)]


def results_of(parts: list[Future[Filled]]) -> list[Filled]:
    """Return what each part was filled with; the first error in their order is raised."""
    return [part.result() for part in parts]


@contextmanager
def leaving(pool: Executor) -> Iterator[None]:
    """Close the pool at the end, whatever happens: what has not begun is dropped."""
    try:
        yield
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def begin_server() -> None:
    """Start the process that forks workers, if it is not there, with the signals blocked that end a run.

    They are for the process that trains, which saves a checkpoint first, and may be sent to all processes of a terminal
    or of a job. What the server forks has them blocked, too. Its workers end when they are told, or with that process.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # starting the tracker has unblocked some of them
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker:
    """What a worker process has.

    Args:
        content: the reader, pickled.
        blocks: the memory of batches.
        places: for each worker its process id and the sample that it is at.
        slot: the number of this one.
    """

    def __init__(self, content: bytes, blocks: list[Any], places: Any, slot: int) -> None:
        self.content = content
        self.blocks = blocks
        self.places = places
        self.slot = slot
        self.reader: SampleReader | None = None

    def note(self, sample: int) -> None:
        """Leave a note of the sample that is read next, for the message if this process dies of it."""
        self.places[2 * self.slot + 1] = sample


# The worker that this process is; a process pool has no other place for it.
WORKER: Worker | None = None


def begin_worker(content: bytes, blocks: list[Any], places: Any, counter: Any) -> None:
    """Make this process a worker."""
    global WORKER
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    with counter.get_lock():
        slot = counter.value
        counter.value += 1
    WORKER = Worker(content, blocks, places, slot)
    places[2 * slot : 2 * slot + 2] = [os.getpid(), -1]


def end_with_parent() -> None:
    """End this process as soon as the one that it works for has ended, even if that was killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def fill_block(
    block: int, size: Sequence[int], part: slice, epoch: int, samples: Sequence[int], repeats: Sequence[int]
) -> Filled:
    """Fill a part of a batch in shared memory; called in a worker process."""
    assert WORKER is not None
    if WORKER.reader is None:
        # Here and not when the process begins: what is raised here comes to the one that waits.
        WORKER.reader = pickle.loads(WORKER.content)
    assert WORKER.reader is not None
    images = view_of(WORKER.blocks[block], size)[part]
    return WORKER.reader.fill(images, epoch, samples, repeats, WORKER.note)


def view_of(block: Any, size: Sequence[int]) -> Tensor:
    """Return the memory of a batch as a tensor of this size."""
    return torch.frombuffer(block, dtype=torch.uint8, count=prod(size)).view(*size)
