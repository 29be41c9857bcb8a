"""A save killed at any of its system calls leaves a good checkpoint, and kills anywhere change nothing that lasts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from tests.conftest import ROOT


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `scripts/chaos.py`."""
    command = [sys.executable, str(ROOT / "scripts" / "chaos.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_system_call_of_a_save():
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    done = chaos("--crash-points")
    if "strace cannot be used here" in done.stderr:
        pytest.skip("no process can be traced here")
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.fullmatch(
        r"killed at each of (\d+) system calls of a save \(.*\): 0 left no good checkpoint\n", done.stdout
    )
    assert found is not None, done.stdout
    assert int(found[1]) > 20


@pytest.mark.slow
def test_five_kills_within_one_epoch():
    done = chaos("--chain")
    assert (done.returncode, done.stdout) == (0, "a chain of five resumes within one epoch: the same\n"), done.stderr


@pytest.mark.slow
def test_fifty_kills():
    done = chaos("--kills", "50")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("50 kills")
