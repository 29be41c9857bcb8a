"""The set-up of `.venv`: made when missing or out of date, repaired when interrupted, and quick when all is well.

A stand-in for Python makes the environment and notes what it was asked for, so that nothing is downloaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time

import pytest

from tests.conftest import ROOT

PYTHON = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >>"$LOG"
case "$*" in
    -c*) exit 0 ;;
    --version) echo "Python 3.12.0" ;;
    "-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && for t in ruff mypy; do cp "$0" "$3/bin/$t"; done ;;
    *"pip install"*) [ -z "${BREAK:-}" ] || kill -9 $PPID ;;
    src/train.py*) echo "trained with: ${*:2}" ;;
    *pytest*) echo "tested with: ${*:3}" ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
    """Return a function that runs a script of a copy of the repository, where `python3` is the stand-in."""
    repo, bin_ = tmp_path / "repo", tmp_path / "bin"
    (repo / "scripts").mkdir(parents=True)
    bin_.mkdir()
    for name in ("scripts/train.sh", "scripts/test.sh", "scripts/venv.sh", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, repo / name)
    (bin_ / "python3").write_text(PYTHON)
    (bin_ / "python3").chmod(0o755)

    def run(script: str, *arguments: str, **env: str):
        log = tmp_path / "log"
        log.write_text("")
        environment = {**os.environ, "PATH": f"{bin_}:/usr/bin:/bin", "LOG": str(log), **env}
        command = [str(repo / "scripts" / script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
        installs = [line.rpartition("-r ")[2] for line in log.read_text().splitlines() if "pip install" in line]
        made = any("-m venv" in line for line in log.read_text().splitlines())
        return done, made, installs

    run.repo = repo  # type: ignore[attr-defined]
    return run


def test_first_and_second_call(clone):
    done, made, installs = clone("train.sh", "lr_schedule=cosine", "lr_schedule.step=[1, 2]")
    assert (made, installs) == (True, ["requirements.txt"])
    assert "trained with: lr_schedule=cosine lr_schedule.step=[1, 2]" in done.stdout
    start = time.perf_counter()
    done, made, installs = clone("train.sh")
    assert time.perf_counter() - start < 0.5
    assert (made, installs, done.stderr) == (False, [], "")


def test_changed_requirements_are_installed(clone):
    clone("train.sh")
    with (clone.repo / "requirements.txt").open("a") as file:
        file.write("something==1.0\n")
    _, made, installs = clone("train.sh")
    assert (made, installs) == (False, ["requirements.txt"])
    assert clone("train.sh")[2] == []


def test_the_tests_requirements_serve_training(clone):
    done, made, installs = clone("test.sh", "-k", "golden")
    assert (made, installs) == (True, ["requirements-dev.txt"])
    assert "tested with: -k golden" in done.stdout
    assert clone("train.sh")[1:] == (False, [])
    assert clone("test.sh")[1:] == (False, [])


def test_training_first_then_tests(clone):
    clone("train.sh")
    assert clone("test.sh")[1:] == (False, ["requirements-dev.txt"])
    assert clone("train.sh")[1:] == (False, [])


def test_an_interrupted_set_up_is_repaired(clone):
    done, _, _ = clone("train.sh", BREAK="1")
    assert done.returncode != 0
    assert (clone.repo / ".venv" / ".incomplete").exists()
    done, made, installs = clone("train.sh")
    assert (made, installs) == (True, ["requirements.txt"])
    assert "trained" in done.stdout
    assert clone("train.sh")[1:] == (False, [])


def test_a_broken_environment_is_made_anew(clone):
    clone("train.sh")
    (clone.repo / ".venv" / "bin" / "python").unlink()
    assert clone("train.sh")[1:] == (True, ["requirements.txt"])


def test_no_python(clone, tmp_path):
    old = (tmp_path / "bin" / "python3").read_text().replace("-c*) exit 0", "-c*) exit 1")
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 15)), "python"):
        (tmp_path / "bin" / name).write_text(old)
        (tmp_path / "bin" / name).chmod(0o755)
    done, made, _ = clone("train.sh")
    assert (done.returncode, made) == (2, False)
    assert "no Python 3.11 or newer" in done.stderr
