"""The benchmarks as modules."""

from __future__ import annotations

import importlib
import sys

import pytest
from tests.conftest import ROOT

SCRIPTS = ROOT / "scripts" / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Return a function: a benchmark as a module, with its neighbours in sight until the test ends."""
    monkeypatch.syspath_prepend(SCRIPTS)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(SCRIPTS)):
            del sys.modules[name]
