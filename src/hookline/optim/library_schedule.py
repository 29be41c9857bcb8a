"""Schedulers of torch and timm as curves."""

from __future__ import annotations

import inspect
import warnings
from array import array
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any, Self

import torch
from torch.optim.lr_scheduler import LRScheduler

from hookline.config.errors import ParameterError, reason_of
from hookline.schedules import Clock, Curve

# Those that follow a metric, by their names and their subclasses'.
FOLLOW_A_METRIC = {"ReduceLROnPlateau", "PlateauLRScheduler"}


class LibrarySchedule(Curve):
    """A scheduler of `torch.optim.lr_scheduler` or `timm.scheduler`: `b -> the rate it gives at t`.

    The scheduler steps an optimizer of its own, without parameters to train, from the base value on, and what it gave
    is kept. So it cannot come apart from the training: neither a skipped update nor a resume reaches it, and the value
    at an iteration is the same however training got there. It is told the epoch, or with `by_epoch=False` the
    iteration; `T_max`, `total_steps` and the like count in the same unit, and timm's `t_in_epochs` follows it.

    A scheduler that wants a metric cannot be drawn before training: use `lr_schedule=plateau`.

    Args:
        scheduler: makes the scheduler from an optimizer: a node with `_partial_: true`.
        by_epoch: step once an epoch, else every iteration.
        momentum: of the optimizer that is stepped, for schedulers that want one.
    """

    def __init__(self, scheduler: Callable[..., Any], *, by_epoch: bool = True, momentum: float = 0.9) -> None:
        super().__init__(by_epoch=by_epoch)
        if not callable(scheduler):
            raise ParameterError("scheduler", scheduler, "a node with _target_ and _partial_: true")
        made = getattr(scheduler, "func", scheduler)
        if FOLLOW_A_METRIC & {cls.__name__ for cls in getattr(made, "__mro__", ())}:
            raise ParameterError("scheduler", _name(scheduler), "one without a metric; use lr_schedule=plateau")
        self.scheduler = _counting(scheduler, made, by_epoch)
        self.momentum = momentum
        self._group = (0, 1)

    def _fit(self, given: Self, clock: Clock) -> None:
        self._runs: dict[tuple[float, int], _Run] = {}

    def for_group(self, index: int, count: int) -> Curve:
        other = copy(self)  # which has the runs in common with this one
        other._group = (index, count)
        return other

    def __call__(self, base_value: float, clock: Clock) -> float:
        index, count = self._group
        t = clock.epoch if self.by_epoch else clock.iter
        try:
            # Of most schedulers each group has the curve that it would have alone; only arguments with an entry for
            # each group need all groups.
            run = self._runs.get((base_value, 1)) or self._runs.get((base_value, count))
            if run is None:
                run = self._start(base_value, count)
            return run.at(t, index if run.count > 1 else 0)
        except (TypeError, ValueError, AssertionError, AttributeError, ArithmeticError, IndexError) as error:
            raise ParameterError(
                "scheduler", _name(self.scheduler), f"given arguments that fit this run: {reason_of(error)}"
            ) from error

    def _start(self, base_value: float, count: int) -> _Run:
        try:
            run = _Run(self, base_value, 1)
        except (TypeError, ValueError, AssertionError, IndexError):
            if count == 1:
                raise
            run = _Run(self, base_value, count)
        self._runs[base_value, run.count] = run
        return run


class _Run:
    """The values of one scheduler from one base value, extended as far as somebody asks."""

    def __init__(self, schedule: LibrarySchedule, base_value: float, count: int) -> None:
        self.count = count
        groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(count)]
        self.optimizer = torch.optim.SGD(groups, lr=base_value, momentum=schedule.momentum)
        self.scheduler = schedule.scheduler(self.optimizer)
        self.by_epoch = schedule.by_epoch
        self.values = [array("d") for _ in range(count)]
        self._keep()
        self.optimizer.step()  # without gradients: torch's schedulers expect to have seen one

    def at(self, t: int, index: int) -> float:
        values = self.values[index]
        if len(values) <= t:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                while len(values) <= t:
                    self._step(len(values))
                    self._keep()
        return values[t]

    def _step(self, t: int) -> None:
        if isinstance(self.scheduler, LRScheduler):
            self.scheduler.step()
        elif self.by_epoch:
            self.scheduler.step(t)
        else:
            self.scheduler.step_update(t)

    def _keep(self) -> None:
        for values, group in zip(self.values, self.optimizer.param_groups, strict=True):
            values.append(float(group["lr"]))


def _counting(scheduler: Callable[..., Any], made: Any, by_epoch: bool) -> Callable[..., Any]:
    """Return the scheduler with timm's `t_in_epochs` as `by_epoch` says, if it has that argument."""
    try:
        takes = "t_in_epochs" in inspect.signature(made).parameters
    except (TypeError, ValueError):
        return scheduler
    if not takes:
        return scheduler
    given = getattr(scheduler, "keywords", {}).get("t_in_epochs", by_epoch)
    if given is not by_epoch:
        raise ParameterError("scheduler.t_in_epochs", given, f"left out: it is what by_epoch says, {by_epoch}".lower())
    return partial(scheduler, t_in_epochs=by_epoch)


def _name(factory: Any) -> str:
    while isinstance(factory, partial):
        factory = factory.func
    return getattr(factory, "__name__", str(factory))
