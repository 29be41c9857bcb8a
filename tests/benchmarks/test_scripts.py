"""Every benchmark runs and prints its table; how fast things are is not tested."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from hookline.data.sets.fashion_mnist import DEBIAN

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"
needs_fashion_mnist = pytest.mark.skipif(not DEBIAN.is_dir(), reason=f"needs the files of Fashion-MNIST in {DEBIAN}")


def run(tmp_path: Path, name: str, *arguments: str) -> tuple[str, dict]:
    """Return what a script printed, and the numbers that it wrote."""
    file = tmp_path / "numbers.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / name), *arguments, "--json", str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(file.read_text())


@pytest.mark.slow
def test_engine(tmp_path: Path) -> None:
    printed, numbers = run(tmp_path, "engine.py", "--rounds", "2", "--iterations", "20", "--only")
    assert "over bare" in printed
    assert list(numbers["engines"]) == ["bare", "lean", "hookline"]
    assert numbers["engines"]["hookline"]["us_per_iteration"]["median"] > 0


@pytest.mark.slow
def test_engine_with_more_in_the_update(tmp_path: Path) -> None:
    _, numbers = run(tmp_path, "engine.py", "--rounds", "1", "--iterations", "20", "--update")
    more = ["bare, clip", "hookline, clip", "bare, ema", "hookline, ema"]
    assert list(numbers["engines"]) == ["bare", "lean", "hookline", *more]


@pytest.mark.slow
def test_engine_leaves_out_what_is_not_installed_and_says_so(tmp_path: Path) -> None:
    printed, numbers = run(tmp_path, "engine.py", "--rounds", "1", "--iterations", "20")
    for name in ("mmengine", "lightning", "ignite"):
        assert (name in numbers["engines"]) != (f"{name}: left out" in printed)


@pytest.mark.slow
def test_threads(tmp_path: Path) -> None:
    short = ["runner.max_iters=1", "evaluation=none", "data.transforms.resize=null"]
    printed, numbers = run(tmp_path, "threads.py", *short, "--rounds", "1")
    assert "slowest / median" in printed
    assert list(numbers["runs"]) == ["threads=auto, idle", "threads=auto, busy neighbour"]
    assert all(len(runs["seconds"]) == 1 and runs["ratio"] == 1 for runs in numbers["runs"].values())


@needs_fashion_mnist
@pytest.mark.slow
def test_data(tmp_path: Path) -> None:
    printed, numbers = run(tmp_path, "data.py", "--rounds", "1", "--images", "128")
    assert "images/s" in printed
    assert numbers["ratio"]["median"] > 0


@pytest.mark.slow
def test_data_from_jpegs(tmp_path: Path) -> None:
    options = ["--jpegs", "--rounds", "1", "--images", "64", "--workers", "1", "--tasks", "train", "val", "raw"]
    printed, numbers = run(tmp_path, "data.py", *options)
    assert "times the usual" in printed
    names = [f"{task}, {workers} workers" for task in ("train", "val", "raw") for workers in (0, 1)]
    assert list(numbers["ratio"]) == names
    assert all(numbers["ratio"][name]["median"] > 0 for name in names)
    sides = [f"{name}, {side}" for name in names[:4] for side in ("usual", "hookline")]
    assert list(numbers["images_per_second"]) == sides + [f"{name}, hookline" for name in names[4:]]


@pytest.mark.slow
def test_predict(tmp_path: Path) -> None:
    printed, numbers = run(tmp_path, "prediction.py", "--rounds", "1", "--images", "16", "--model", "test_resnet")
    assert "images/s" in printed
    assert numbers["ratio"]["median"] > 0


@pytest.mark.slow
def test_startup(tmp_path: Path) -> None:
    printed, numbers = run(tmp_path, "startup.py", "--rounds", "1", "--only", "help", "mistake")
    assert "quartiles" in printed
    assert list(numbers["commands"]) == ["hydra", "help", "mistake"]
    assert numbers["commands"]["help"]["wall"]["ratio"]["median"] > 0


@needs_fashion_mnist
@pytest.mark.slow
def test_train(tmp_path: Path) -> None:
    printed, numbers = run(tmp_path, "training.py", "--model", "test_resnet", "--batches", "2", "--rounds", "1")
    assert "ratio" in printed
    assert numbers["models"]["test_resnet"]["batches"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["data.py", "training.py"])
def test_missing_files_are_one_line(tmp_path: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / name), "--root", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "there is no such folder" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        *("checkpoint.py", "engine.py", "data.py", "gpu.py", "prediction.py", "scaling.py", "startup.py", "threads.py"),
        "training.py",
    ],
)
def test_help_says_what_is_measured(name: str, monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(SCRIPTS / name), run_name="__main__")
    printed = capsys.readouterr().out
    assert done.value.code == 0
    assert "--rounds" in printed
    assert "take turns" in printed
