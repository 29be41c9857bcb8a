"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes

# Names of glibc's parameters, from its malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# The parameters are C integers.
LIMIT = 2**30


def keep_freed_memory() -> None:
    """Let this process keep the memory of large tensors that are freed, and use it for the next ones.

    By default glibc returns blocks of more than 32 MiB to the system at once, and each page of the next block of that
    size is cleared when it is first touched: for a batch of 64 images that takes four times as long as to normalise it.
    Other C libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_MMAP_THRESHOLD, LIMIT)
    mallopt(M_TRIM_THRESHOLD, LIMIT)
