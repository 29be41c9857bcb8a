"""Where training stands: the only thing besides the base value that a schedule may look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

History = Sequence[Mapping[str, float]]


@dataclass(slots=True)
class Clock:
    """Position and length of a run, counted in epochs and iterations from 0.

    One iteration is one optimizer update. The runner moves its clock in place; whoever wants another moment asks
    `at`. While an iteration runs, `iter` is its number; between two updates it is the number of finished updates.

    Attributes:
        max_epochs: epochs in the run; the last one is cut short when `max_iters` says so.
        max_iters: iterations in the run.
        iters_per_epoch: iterations in a whole epoch.
        epoch: the epoch being trained, which is also the number of epochs that have ended.
        iter: the iteration being trained, counted from the start of the run.
        phase: how many phases of the run's workflow are over.
        history: the rows of numbers recorded so far (see `hookline.engine.Runner`), for a schedule that follows a
            metric.
    """

    max_epochs: int
    max_iters: int
    iters_per_epoch: int
    epoch: int = 0
    iter: int = 0
    history: History = ()
    phase: int = 0

    @classmethod
    def for_run(cls, iters_per_epoch: int, *, max_epochs: int | None = None, max_iters: int | None = None) -> Clock:
        """Return the clock at the start of a run whose length is given in epochs or in iterations."""
        if (max_epochs is None) == (max_iters is None):
            raise ValueError("give max_epochs or max_iters, not both")
        if max_iters is None:
            assert max_epochs is not None
            return cls(max_epochs, max_epochs * iters_per_epoch, iters_per_epoch)
        return cls(-(-max_iters // iters_per_epoch), max_iters, iters_per_epoch)

    @property
    def position(self) -> int:
        """The number of this epoch's iterations that came before `iter`."""
        return self.iter - self.epoch * self.iters_per_epoch

    @property
    def finished(self) -> bool:
        """Whether every iteration is done and every epoch has ended."""
        return self.iter >= self.max_iters and self.epoch >= self.max_epochs

    def at(self, iteration: int, history: History = ()) -> Clock:
        """Return a clock of the same run standing at `iteration`, with this history."""
        return Clock(
            self.max_epochs, self.max_iters, self.iters_per_epoch, iteration // self.iters_per_epoch, iteration, history
        )

    def due(self, interval: int) -> bool:
        """Say whether what happens every `interval` iterations happens in this one.

        It does in the first iteration, in each whose number is a multiple of `interval`, and in the last. It is asked
        in the stages of an iteration; in `between_updates` the iteration is over, and `iter` counts it.

        Args:
            interval: iterations, at least 1.
        """
        return self.iter % interval == 0 or self.iter + 1 == self.max_iters

    def state_dict(self) -> dict[str, int]:
        """Return the position, and the lengths that it was counted in."""
        return {
            "epoch": self.epoch,
            "iter": self.iter,
            "phase": self.phase,
            "iters_per_epoch": self.iters_per_epoch,
            "max_epochs": self.max_epochs,
            "max_iters": self.max_iters,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a position; the run's length stays this clock's own.

        An epoch that the earlier run's end cut short is open again where this run is longer.

        Raises:
            ValueError: the position was counted in epochs of another length, or lies beyond this run's end.
        """
        if state["iters_per_epoch"] != self.iters_per_epoch:
            raise ValueError(
                f"an epoch had {state['iters_per_epoch']} iterations and has {self.iters_per_epoch} here: the batch"
                " size or the data differ"
            )
        position = state["iter"] - state["epoch"] * self.iters_per_epoch
        if state["iter"] < 0 or state["epoch"] < 0 or not -self.iters_per_epoch < position <= self.iters_per_epoch:
            raise ValueError(f"iteration {state['iter']} is not in epoch {state['epoch']}")
        if state["iter"] > self.max_iters:
            raise ValueError(f"{state['iter']} iterations are done, and this run has only {self.max_iters}")
        self.epoch, self.iter, self.phase = state["epoch"], state["iter"], state["phase"]
        if self.position < 0 and self.iter < self.max_iters:
            self.epoch -= 1
            self.phase -= 1
