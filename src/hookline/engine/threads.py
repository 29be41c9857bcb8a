"""How many threads an operation on the CPU is spread over."""

from __future__ import annotations

import os

from hookline.config.checks import check_number
from hookline.config.errors import ParameterError


def resolve_threads(wanted: int | str) -> int:
    """Return the number of threads for `auto` or a number.

    Raises:
        ParameterError: it is neither `auto` nor a number above 0.
    """
    if wanted == "auto":
        return available_cores()
    if isinstance(wanted, str):
        raise ParameterError("threads", wanted, "auto or a number above 0")
    check_number("threads", wanted, gt=0, integer=True)
    return wanted


def available_cores() -> int:
    """Return the number of cores that this process may use; `OMP_NUM_THREADS`, where it is set, says so."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
