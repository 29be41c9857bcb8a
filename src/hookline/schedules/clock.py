"""Where training stands: the only thing besides the base value that a schedule may look at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Clock:
    """Position and length of a run, counted in epochs and iterations from 0.

    One iteration is one optimizer update. The runner moves its clock in place; whoever wants another moment asks
    `at`.

    Attributes:
        max_epochs: epochs in the run; the last one is cut short when `max_iters` says so.
        max_iters: iterations in the run.
        iters_per_epoch: iterations in a whole epoch.
        epoch: the epoch being trained.
        iter: the iteration being trained, counted from the start of the run.
    """

    max_epochs: int
    max_iters: int
    iters_per_epoch: int
    epoch: int = 0
    iter: int = 0

    @classmethod
    def for_run(cls, iters_per_epoch: int, *, max_epochs: int | None = None, max_iters: int | None = None) -> Clock:
        """Return the clock at the start of a run whose length is given in epochs or in iterations."""
        if (max_epochs is None) == (max_iters is None):
            raise ValueError("give max_epochs or max_iters, not both")
        if max_iters is None:
            assert max_epochs is not None
            return cls(max_epochs, max_epochs * iters_per_epoch, iters_per_epoch)
        return cls(-(-max_iters // iters_per_epoch), max_iters, iters_per_epoch)

    def at(self, iteration: int) -> Clock:
        """Return a clock of the same run standing at `iteration`."""
        return Clock(
            self.max_epochs, self.max_iters, self.iters_per_epoch, iteration // self.iters_per_epoch, iteration
        )
