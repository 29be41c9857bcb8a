"""Running sums of what training measures, read only when somebody asks."""

from __future__ import annotations

from collections import defaultdict
from operator import mul

import torch
from torch import Tensor


class MetricBuffer:
    """Sums over the run, by name, of values and of the counts they stand for.

    Tensors on a device are kept and added up there; nothing waits for the device until a mean is read.

    Attributes:
        latest: the newest epoch's numbers by name (`train/loss`, `val/top1`, ...), for whoever shows or stores them.
    """

    # Tensors kept before they are folded into one: bounds the memory, and folding many at once costs little each.
    FOLD = 256

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._pending: dict[str, list[Tensor]] = {}
        self._tallies: set[str] = set()
        self._recorded: dict[str, tuple[list[float], list[int]]] = {}

    def add(self, name: str, value: float | Tensor, count: int = 1) -> None:
        """Add a mean over `count` things: a number or a scalar tensor."""
        self._counts[name] += count
        # Called several times an iteration, mostly with a float: asked for first, as the check against Tensor is slow.
        if type(value) is float or not isinstance(value, Tensor):
            self._sums[name] += value * count
        elif value.is_cpu:
            self._sums[name] += value.item() * count
        else:
            pending = self._pending.setdefault(name, [])
            pending.append(value.detach() * count)
            if len(pending) == self.FOLD:
                self._pending[name] = [torch.stack(pending).double().sum()]

    def tally(self, name: str, value: float | Tensor) -> None:
        """Add to a number that is a sum by nature, such as how often something happened."""
        self._tallies.add(name)
        self.add(name, value)

    def is_tally(self, name: str) -> bool:
        """Say whether the name's sum counts, and not its mean."""
        return name in self._tallies

    def names(self, prefix: str = "") -> list[str]:
        """Return the names that begin so, in the order in which they came."""
        return [name for name in dict.fromkeys([*self._recorded, *self._counts]) if name.startswith(prefix)]

    def record(self, name: str) -> tuple[list[float], list[int]]:
        """Return two lists to append to, one of numbers and one of their counts; without counts each counts once.

        For what comes every iteration this is several times cheaper than `add`. Reading empties them.
        """
        return self._recorded.setdefault(name, ([], []))

    def total(self, name: str) -> tuple[float, int]:
        """Return the sum and the count since the run's start; waits for the device."""
        if name in self._pending:
            self._sums[name] += torch.stack([p.double() for p in self._pending.pop(name)]).sum().item()
        values, counts = self._recorded.get(name, ([], []))
        if values:
            self._sums[name] += sum(map(mul, values, counts)) if counts else sum(values)
            self._counts[name] += sum(counts) if counts else len(values)
            values.clear()  # in place: whoever records holds on to them
            counts.clear()
        return self._sums[name], self._counts[name]


class Window:
    """A reader of a `MetricBuffer` that has its own mark: means since the last `advance`."""

    def __init__(self, metrics: MetricBuffer) -> None:
        self.metrics = metrics
        self._marks: dict[str, tuple[float, int]] = {}

    def since(self, name: str) -> tuple[float, int]:
        """Return the sum and the count since the mark."""
        total, count = self.metrics.total(name)
        marked, before = self._marks.get(name, (0.0, 0))
        return total - marked, count - before

    def sum(self, name: str) -> float:
        """Return the sum since the mark."""
        return self.since(name)[0]

    def count(self, name: str) -> int:
        """Return the count since the mark."""
        return self.since(name)[1]

    def mean(self, name: str) -> float:
        """Return the mean since the mark, NaN if there was nothing."""
        total, count = self.since(name)
        return total / count if count else float("nan")

    def value(self, name: str) -> float:
        """Return the mean since the mark, or the sum of a tally."""
        return self.sum(name) if self.metrics.is_tally(name) else self.mean(name)

    def rate(self, name: str, time: str) -> float:
        """Return the count of `name` by the sum of `time`, NaN if no time has passed."""
        seconds = self.sum(time)
        return self.count(name) / seconds if seconds > 0 else float("nan")

    def advance(self, *names: str) -> None:
        """Move the mark of these names to now."""
        for name in names:
            self._marks[name] = self.metrics.total(name)
