"""What a sink is: a place where a run's numbers and pictures go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hookline.job import Job

Row = Mapping[str, float]

# What a row of the history has of training itself: means over an epoch of what comes as samples, too.
SAMPLED = ("train/", "time/", "throughput/")


def beside_samples(numbers: Row) -> Row:
    """Return the numbers of a row that no sample has: those of an evaluation, and those that hooks have logged."""
    return {name: value for name, value in numbers.items() if name != "lr" and not name.startswith(SAMPLED)}


class Sink:
    """A place where a run's numbers and pictures go.

    One hook (`hookline.hooks.log.LogHook`) samples the run at an interval and hands plain numbers to all sinks, on the
    first process only. What a sink raises is said once and never stops training.

    To add one, subclass it, write what you need, and name it in the `logger` group:
    `+logger.mine._target_=my_module.MySink`.
    """

    def open(self, job: Job, resumed: bool) -> None:
        """Begin; called once, before anything is written.

        Args:
            job: the run directory and the run's config.
            resumed: whether an interrupted run goes on here.
        """

    def write(self, numbers: Row, step: int) -> None:
        """Take a sample: numbers by tag, at an iteration counted from 0."""

    def write_row(self, numbers: Row, step: int, history: Sequence[Row]) -> None:
        """Take what was recorded.

        Args:
            numbers: what the newest row of the history got, such as an epoch's numbers, or an evaluation's.
            step: the last finished iteration, counted from 0.
            history: all rows.
        """

    def picture(self, name: str, path: Path, step: int) -> None:
        """Take a picture that lies in a file."""

    def histogram(self, name: str, counts: Sequence[float], edges: Sequence[float], step: int) -> None:
        """Take a histogram: so many numbers lie between each edge and the next; there is an edge more than counts."""

    def graph(self, definition: bytes) -> None:
        """Take the model's graph, a `GraphDef` as TensorBoard reads it, serialised."""

    def flush(self) -> None:
        """Hand everything to the operating system."""

    def close(self, status: str) -> None:
        """End; `status` says how the run ended, as in `hookline.job.STATUSES`."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold of this sink."""
        return {}

    def resume(self, state: Mapping[str, Any], step: int, history: Sequence[Row]) -> None:
        """Go on where `state_dict` gave this state; called after `open`, or in mid-run where the run goes back.

        Args:
            state: what `state_dict` gave; empty if it was not there.
            step: the first iteration that comes, counted from 0.
            history: the rows that were recorded by then: what the sink has beyond them is to go.
        """
