"""How much memory the run has needed so far."""

from __future__ import annotations

import resource
import sys

import torch

MIB = 2**20
# What the operating system counts the largest resident set in, in bytes.
UNIT = 1 if sys.platform == "darwin" else 1024


def memory_used(device: torch.device) -> dict[str, float]:
    """Return the most memory that was in use so far, in MiB.

    `memory/process_mib` is the process's largest resident set, without its workers; on a GPU `memory/device_mib` is the
    most that PyTorch had allocated on it. Neither waits for the device.
    """
    found = {"memory/process_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / MIB}
    if device.type == "cuda":
        found["memory/device_mib"] = torch.cuda.max_memory_allocated(device) / MIB
    return found
