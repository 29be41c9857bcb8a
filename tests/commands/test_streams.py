"""Standard output and error that are closed, full, gone, or know only ASCII; and a Ctrl-C before anything began."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import ROOT, thinned

PLOT = [sys.executable, str(ROOT / "scripts" / "plot_lr.py"), "preview.iters_per_epoch=5"]
TRAIN = [sys.executable, str(ROOT / "src" / "train.py"), "runner.max_iters=1", "runner.threads=1", "checkpoint=none"]


@pytest.mark.parametrize(
    ("redirection", "status", "says"),
    thinned(
        [
            ("> /dev/full", 2, "error: standard output: No space left on device\n"),
            (">&-", 0, ""),
            ("2>&-", 0, ""),
            ("2> /dev/full", 0, ""),
        ],
        2,
    ),
)
def test_a_preview_whose_output_cannot_be_written(redirection, status, says, tmp_path):
    line = f"{' '.join(PLOT)} {redirection}"
    finished = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (status, says)


@pytest.mark.parametrize("redirection", thinned(["> /dev/full", ">&- 2>&-"], 2))
def test_a_run_goes_on_without_a_screen(redirection, tmp_path):
    line = f"{' '.join(TRAIN)} hydra.run.dir=run {redirection}"
    finished = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "done: " in (tmp_path / "run" / "train.log").read_text()


def test_a_reader_that_has_gone(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        finished = subprocess.run(PLOT, cwd=tmp_path, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (141, "")


def test_a_terminal_that_knows_only_ascii(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [*PLOT, "preview.output_dir=ünï", "preview.text=true"]
    finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "\\xfcn\\xef" in finished.stdout


@pytest.mark.parametrize(
    ("number", "statuses", "told"),
    [
        (signal.SIGINT, (130, -signal.SIGINT), "interrupted\n"),
        (signal.SIGTERM, (143,), "interrupted (SIGTERM)\n"),
    ],
)
def test_a_signal_while_packages_are_imported(tmp_path, number, statuses, told):
    process = subprocess.Popen(
        TRAIN,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore it, and so would the process.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    maps = Path(f"/proc/{process.pid}/maps")
    while "libtorch" not in maps.read_text():  # until torch is being imported, however slow the machine is
        time.sleep(0.05)
    process.send_signal(number)
    _, says = process.communicate()
    assert process.returncode in statuses
    assert says == told
    (status,) = (json.loads(path.read_text()) for path in tmp_path.rglob("status.json"))
    assert (status["status"], status["reason"]) == ("interrupted", number.name)
