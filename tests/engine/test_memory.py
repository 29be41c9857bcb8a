"""The memory of large tensors that are freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# In a process of its own, as what others have mapped behind the heap can keep it from growing.
FAULTS = """
import resource

import torch

from hookline.engine.memory import keep_freed_memory

keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.zeros(2**26, dtype=torch.uint8)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / 2**26)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_is_used_again_without_the_system() -> None:
    found = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert float(found.stdout) < 5
