"""Running sums of what training measures, read only when somebody asks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Number = float | Tensor


@dataclass(slots=True)
class Total:
    """A running sum, and the count of things that it stands for."""

    sum: Number = 0.0
    count: Number = 0


class Sums:
    """Sums over the run, by name, of values and of the counts that they stand for.

    Values are added one after the other in float64, numbers on the CPU and tensors on their device: what a sum is does
    not depend on when it is read, and nothing waits for the device before.

    Attributes:
        tallies: the names whose sum counts, and not its mean.
    """

    def __init__(self) -> None:
        self.tallies: set[str] = set()
        self._totals: dict[str, Total] = {}

    def entry(self, name: str) -> Total:
        """Return the total of this name, which may be added to; it stays the same object for the whole run."""
        if name not in self._totals:
            self._totals[name] = Total()
        return self._totals[name]

    def add(self, name: str, value: Number, count: Number = 1) -> None:
        """Add a mean over `count` things: a number or a scalar tensor."""
        # Asked for by the type alone, as the check against Tensor is slow and most values are floats.
        if type(value) is not float and isinstance(value, Tensor):
            value = value.item() if value.is_cpu else value.detach().double()
        total = self._totals.get(name) or self.entry(name)
        total.sum += value * count
        total.count += count

    def tally(self, name: str, value: Number) -> None:
        """Add to a number that is a sum by nature, such as how often something happened."""
        self.tallies.add(name)
        self.add(name, value)

    def names(self, prefix: str = "") -> list[str]:
        """Return the names that begin so, in the order in which they came."""
        return [name for name in self._totals if name.startswith(prefix)]

    def total(self, name: str) -> tuple[float, float]:
        """Return the sum and the count since the run's start; waits for the device."""
        total = self._totals.get(name, Total())
        return float(total.sum), float(total.count)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums and counts."""
        return {"totals": {name: self.total(name) for name in self._totals}, "tallies": sorted(self.tallies)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up sums and counts."""
        given = state["totals"]
        for name in (*self._totals, *given):
            total = self.entry(name)
            total.sum, total.count = given.get(name, (0.0, 0.0))
        self.tallies = set(state["tallies"])


class Window:
    """A reader of `Sums` that has marks of its own: means since the last `advance`."""

    def __init__(self, sums: Sums) -> None:
        self.sums = sums
        self._marks: dict[str, tuple[float, float]] = {}

    def since(self, name: str) -> tuple[float, float]:
        """Return the sum and the count since the mark."""
        total, count = self.sums.total(name)
        marked, before = self._marks.get(name, (0.0, 0.0))
        return total - marked, count - before

    def mean(self, name: str) -> float:
        """Return the mean since the mark, NaN if there was nothing."""
        total, count = self.since(name)
        return total / count if count else math.nan

    def value(self, name: str) -> float:
        """Return the mean since the mark, or the sum of a tally."""
        return self.since(name)[0] if name in self.sums.tallies else self.mean(name)

    def rate(self, name: str, time: str) -> float:
        """Return the count of `name` by the sum of `time`, NaN if no time has passed."""
        seconds = self.since(time)[0]
        return self.since(name)[1] / seconds if seconds > 0 else math.nan

    def advance(self, *names: str) -> None:
        """Move the mark of these names, or of all without any, to now."""
        for name in names or self.sums.names():
            self._marks[name] = self.sums.total(name)

    def state_dict(self) -> dict[str, Any]:
        """Return the marks."""
        return dict(self._marks)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up marks."""
        self._marks = {name: tuple(mark) for name, mark in state.items()}
