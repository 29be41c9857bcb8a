"""What the benchmarks share: passes that time themselves, rounds, quartiles, tables, and hookline's side of a race."""

from __future__ import annotations

import json
import logging
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra import compose, initialize_config_dir
from torch import nn
from torch.nn.functional import cross_entropy

from hookline.config import resolvers
from hookline.config.paths import conf
from hookline.data import Batch
from hookline.engine import Forward, Hook, Runner
from hookline.experiment import build_hooks, build_metrics, build_update
from hookline.job import Job
from hookline.schedules import Clock, Cosine

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


class TimedPass:
    """One pass over batches that notes the time when a loop asks for them.

    Whoever loops over it, be it three lines or a framework, is timed alike: from asking for batch `skip` to asking
    for the one `timed` batches later. What happens before the pass, in its first `skip` iterations and after it is not
    in that time.

    Args:
        batches: at least `skip + timed + 1` of them, as the last one is there only to be asked for.
        timed: iterations to time.
        skip: iterations before those.
        clock: returns seconds.
        finish: called before the clock is read; waits for the device if there is one.
    """

    def __init__(
        self,
        batches: Iterable[Any],
        *,
        timed: int,
        skip: int = 0,
        clock: Callable[[], float] = time.perf_counter,
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        self.batches = batches
        self.timed = timed
        self.skip = skip
        self.clock = clock
        self.finish = finish

    def __len__(self) -> int:
        return self.skip + self.timed + 1

    def __iter__(self) -> Iterator[Any]:
        supply = iter(self.batches)
        yield from islice(supply, self.skip)
        self.finish()
        self._start = self.clock()
        yield from islice(supply, self.timed)
        self.finish()
        self._stop = self.clock()
        yield next(supply)

    @property
    def seconds(self) -> float:
        """The time of the `timed` iterations."""
        return self._stop - self._start


class PassLoader:
    """A pass over `(images, labels)` as hookline's loaders are: it is gone through once.

    Args:
        batches: has a length, and gives `(images, labels)`.
    """

    def __init__(self, batches: Any) -> None:
        self._pass = batches

    def __len__(self) -> int:
        return len(self._pass)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches."""
        for images, labels in self._pass:
            yield Batch(images, labels, labels)

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: such a run is not continued."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up nothing."""


def train_with_hookline(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: Any,
    val_loader: Any,
    folder: Path,
    *overrides: str,
    forward: Forward | None = None,
    epochs: int = 1,
    hooks: Sequence[Hook] = (),
) -> None:
    """Train with hookline's runner, its default hooks and loggers, and cosine LR each iteration.

    Args:
        model: what is trained.
        optimizer: over its parameters.
        loader: the batches, as `hookline.data.Loader`.
        val_loader: the batches of validation.
        folder: the run directory.
        overrides: of the default config, such as `logger.interval=50`.
        forward: of the model; None for fp32 and nothing compiled.
        epochs: how many.
        hooks: further ones.
    """
    resolvers.register()
    with initialize_config_dir(str(conf()), version_base="1.3"):
        cfg = compose("train", list(overrides))
    clock = Clock.for_run(len(loader), max_epochs=epochs)
    runner = Runner(
        update=build_update(cfg, forward=forward or Forward(model), loss=cross_entropy, optimizer=optimizer),
        train_loader=loader,
        val_loader=val_loader,
        metrics=list(build_metrics(cfg).values()),
        clock=clock,
        schedules={"lr": Cosine(min_value=0.0, by_epoch=False).for_run(clock)},
        hooks=[*build_hooks(cfg), *hooks],
        job=Job(folder),
    )
    # The lines that a run shows go to its log file, as in a run; another thread may train, too.
    log, thread = logging.getLogger("hookline"), threading.get_ident()
    handler = logging.FileHandler(folder / "train.log")
    handler.addFilter(lambda record: record.thread == thread)
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    try:
        runner.run()
    finally:
        log.setLevel(level)
        log.propagate = propagate
        log.removeHandler(handler)
        handler.close()


class Spread(NamedTuple):
    """The middle of a few numbers and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, _, high = statistics.quantiles(values, method="inclusive")
    return Spread(statistics.median(values), low, high)


def interleave(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return what every contestant measures in every round, a first round not counted.

    A round calls each of them once, in turn forwards and backwards: what slows the machine down for a while hits all
    of them, so compare numbers of the same round.
    """
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name in list(contestants)[:: 1 if number % 2 else -1]:
            value = contestants[name]()
            if number:
                measured[name].append(value)
    return measured


def machine() -> dict[str, Any]:
    """Return what the numbers depend on: processor, cores, load, threads and versions."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next((s.partition(":")[2].strip() for s in cpuinfo.read_text().splitlines() if "model name" in s), "")
    return {
        "processor": model or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def describe(found: Mapping[str, Any]) -> str:
    """Return one line about the machine. Its load was taken before the start: 0 on an idle machine."""
    return (
        f"{found['processor']}, {found['cores']} cores, load {found['load']} at the start; "
        f"{found['threads']} thread(s), torch {found['torch']}, Python {found['python']}"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an aligned table, the first column to the left and the others to the right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(line, widths)))  # noqa: B905
        for line in lines
    )


def report(title: str, found: Mapping[str, Any], text: str, numbers: Mapping[str, Any], path: Path | None) -> None:
    """Print the table below its title and the machine's line; with a path, write the numbers there as JSON."""
    print(f"{title}\n{describe(found)}\n\n{text}")
    if path is not None:
        path.write_text(json.dumps({"machine": found, **numbers}, indent=2) + "\n")


def positive(text: str) -> int:
    """Return an integer above 0, for argparse."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value
