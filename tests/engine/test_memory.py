"""The memory of large tensors that are freed."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from hookline.engine.memory import keep_freed_memory

BYTES = 2**26
PAGES = BYTES // resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_is_used_again_without_the_system() -> None:
    keep_freed_memory()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros(BYTES, dtype=torch.uint8)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 5 * PAGES
