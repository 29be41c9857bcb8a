"""How many threads an operation on the CPU is spread over."""

from __future__ import annotations

from hookline.config.checks import check_number
from hookline.config.errors import ParameterError

# FLOPs of a layer's forward pass that each thread has to have at least. Threads wait for one another at the end of
# every operation, and with less work than this the waiting can cost more than a thread brings: far more, where
# something else wants the core that one of them is on.
LEAST_WORK = 50e6


def resolve_threads(wanted: int | str, *, cores: int, work: float | None = None) -> int:
    """Return the number of threads for `auto` or a number.

    `auto` gives each thread at least `LEAST_WORK`, and no core two of them.

    Args:
        wanted: `auto` or a number.
        cores: how many cores the process may use.
        work: FLOPs of an average layer's forward pass over a batch, None where it is not known.

    Raises:
        ParameterError: it is neither `auto` nor a number above 0.
    """
    if wanted == "auto":
        return cores if work is None else max(1, min(cores, int(work / LEAST_WORK)))
    if isinstance(wanted, str):
        raise ParameterError("threads", wanted, "auto or a number above 0")
    check_number("threads", wanted, gt=0, le=1024, integer=True)
    return wanted
