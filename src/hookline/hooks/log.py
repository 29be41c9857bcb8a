"""Numbers of the run, sampled at an interval and handed to every sink."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from time import perf_counter
from typing import Any

from hookline.config.checks import check_number
from hookline.engine import Hook, Priority, Runner, Window
from hookline.loggers.memory import memory_used
from hookline.loggers.sink import Sink
from hookline.loggers.sinks import Sinks
from hookline.optim.group_values import group_names, momentum_of
from hookline.schedules.quantities import tag_of

log = logging.getLogger(__name__)

# Seconds between two updates of the status file.
STATUS_SECONDS = 2.0


def how_far(runner: Runner) -> dict[str, int]:
    """Return what a status file says of a run's progress."""
    clock = runner.clock
    return {"epoch": clock.epoch, "max_epochs": clock.max_epochs, "iter": clock.iter, "max_iters": clock.max_iters}


class LogHook(Hook):
    """Sample the run at an interval, and hand plain numbers to all sinks.

    At the first iteration, every `interval`-th and the last: `learning_rate/<group>`, `momentum/<group>` and what else
    is scheduled, such as `weight_decay/<group>`, as this iteration's update used them; as means since the last sample
    `train/loss` and what else is measured under `train/`, `time/iter` and `time/data` (seconds); and
    `throughput/images_per_second`; and the most memory that was in use so far, in MiB: `memory/process_mib`, on a GPU
    `memory/device_mib` as well. Every row of the history goes to the sinks as well.

    The run directory's status file says with the samples how far the run is.

    Args:
        sinks: where the numbers go, by name.
        interval: iterations from one sample to the next; 1 takes all.
    """

    name = "logger"
    priority = Priority.VERY_LOW
    watches = True
    first_only = True

    def __init__(self, sinks: Mapping[str, Sink], interval: int = 10) -> None:
        check_number("interval", interval, gt=0, integer=True)
        self.sinks = sinks if isinstance(sinks, Sinks) else Sinks(sinks)
        self.interval = interval
        self._status_fails = False
        self._opened = False
        self._sampled = -1

    def before_run(self, runner: Runner) -> None:
        self._window = Window(runner.sums)
        self._runner = runner
        self._opened = True
        self.sinks.each(lambda sink: sink.open(runner.job, runner.resumed))
        self._write_status(runner)

    def after_train_iter(self, runner: Runner) -> None:
        if runner.clock.due(self.interval) or runner.stop_training:
            self._write_sample(runner, runner.clock.iter)
            if perf_counter() >= self._next_status:
                self._write_status(runner)

    def after_record(self, runner: Runner) -> None:
        step = max(0, runner.clock.iter - 1)
        self.sinks.each(lambda sink: sink.write_row(runner.recorded, step, runner.history))

    def after_run(self, runner: Runner) -> None:
        if not self._opened:
            return
        last = runner.clock.iter - 1
        if runner.status in ("stopped", "diverged") and last > self._sampled:
            self._write_sample(runner, last)
        with ExitStack() as stack:  # which closes every sink, also where one is interrupted
            for name in self.sinks:
                stack.callback(self.sinks.attempt, name, lambda sink: sink.close(runner.status))

    def _write_sample(self, runner: Runner, iteration: int) -> None:
        self._sampled = iteration
        numbers = self._sample(runner)
        self.sinks.each(lambda sink: sink.write(dict(numbers), iteration))

    def _write_status(self, runner: Runner) -> None:
        try:
            runner.job.write_status(runner.status, **how_far(runner))
        except OSError as error:  # such as a full disk, which must not end the training
            if not self._status_fails:
                self._status_fails = True
                log.warning("the status file could not be written, training goes on: %s", error.strerror)
        self._next_status = perf_counter() + STATUS_SECONDS

    def _sample(self, runner: Runner) -> dict[str, float]:
        numbers: dict[str, float] = {}
        for name, group in zip(group_names(runner.optimizer), runner.optimizer.param_groups, strict=True):
            for field in dict.fromkeys(("lr", "momentum", *runner.schedules)):
                value = momentum_of(group) if field == "momentum" else group.get(field)
                if value is not None:
                    numbers[f"{tag_of(field)}/{name}"] = float(value)
        window = self._window
        for name in (*runner.sums.names("train/"), *runner.sums.names("time/")):
            numbers[name] = window.value(name)
        if "time/iter" in numbers:
            numbers["throughput/images_per_second"] = window.rate("train/loss", "time/iter")
            numbers |= memory_used(runner.device)
        window.advance()
        return numbers

    def state_dict(self) -> dict[str, Any]:
        window, sampled = self._window.state_dict(), self._sampled
        return {"window": window, "sampled": sampled, "sinks": self.sinks.each(lambda sink: sink.state_dict())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._window.load_state_dict(state["window"])
        self._sampled = state["sampled"]
        names = {id(sink): name for name, sink in self.sinks.items()}
        step, history = self._runner.clock.iter, self._runner.history
        self.sinks.each(lambda sink: sink.resume(state["sinks"].get(names[id(sink)], {}), step, history))
