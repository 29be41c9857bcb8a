"""Schedulers of torch and timm as curves."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import copy
from typing import Any, Self

import torch

from hookline.config.errors import ParameterError
from hookline.schedules import Clock, Curve


class LibrarySchedule(Curve):
    """A scheduler of `torch.optim.lr_scheduler` or `timm.scheduler`: `b -> the rate it gives at t`.

    The scheduler steps an optimizer of its own, without parameters to train, from the base value on, and what it gave
    is kept. So it cannot come apart from the training: neither a skipped update nor a resume reaches it, and the value
    at an iteration is the same however training got there. It is told the epoch, or with `by_epoch=False` the
    iteration; `T_max`, `total_steps` and the like count in the same unit.

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
        if getattr(scheduler, "func", scheduler) is torch.optim.lr_scheduler.ReduceLROnPlateau:
            raise ParameterError("scheduler", "ReduceLROnPlateau", "one without a metric; use lr_schedule=plateau")
        self.scheduler = scheduler
        self.momentum = momentum
        self._group = (0, 1)

    def _fit(self, given: Self, clock: Clock) -> None:
        self._runs: dict[float, _Run] = {}
        try:
            _Run(self, base_value=0.1)
        except (TypeError, ValueError, AssertionError, AttributeError) as error:
            raise ParameterError("scheduler", _name(self.scheduler), f"given arguments it can take: {error}") from error

    def for_group(self, index: int, count: int) -> Curve:
        other = copy(self)
        other._group = (index, count)
        other._runs = {}
        return other

    def __call__(self, base_value: float, clock: Clock) -> float:
        run = self._runs.get(base_value)
        if run is None:
            run = self._runs[base_value] = _Run(self, base_value)
        return run.at(clock.epoch if self.by_epoch else clock.iter)


class _Run:
    """The values of one scheduler from one base value, extended as far as somebody asks."""

    def __init__(self, schedule: LibrarySchedule, base_value: float) -> None:
        self.index, count = schedule._group
        groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(count)]
        self.optimizer = torch.optim.SGD(groups, lr=base_value, momentum=schedule.momentum)
        self.scheduler = schedule.scheduler(self.optimizer)
        self.by_epoch = schedule.by_epoch
        self.values = [self._value(0)]

    def at(self, t: int) -> float:
        while len(self.values) <= t:
            self.values.append(self._value(len(self.values)))
        return self.values[t]

    def _value(self, t: int) -> float:
        if isinstance(self.scheduler, torch.optim.lr_scheduler.LRScheduler):
            if t > 0:
                self.optimizer.step()  # without gradients: nothing but what the scheduler expects to see
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)
                    self.scheduler.step()
        elif self.by_epoch:
            self.scheduler.step(t)
        else:
            self.scheduler.step_update(t)
        return float(self.optimizer.param_groups[self.index]["lr"])


def _name(factory: Any) -> str:
    return getattr(getattr(factory, "func", factory), "__name__", str(factory))
