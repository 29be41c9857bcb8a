"""The check for machines with a GPU: its own logic, on a CPU with sizes at which numbers mean nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.conftest import ROOT

# A stand-in for Python: it makes environments, notes what it is asked for, and says what the variables want.
PYTHON = """#!/usr/bin/env bash
echo "$*" >>"$LOG"
case "$*" in
    "-m venv"*) mkdir -p "${*: -1}/bin" && cp "$0" "${*: -1}/bin/python" ;;
    *is_available*) exit "${NO_GPU:-0}" ;;
    *"sees no GPU"*) echo "error: torch 2.14.1 sees no GPU here" ;;
    *"pip install"*) exit "${NO_PACKAGES:-0}" ;;
    scripts/benchmarks/gpu.py*) exit "${MISSED:-0}" ;;
    *"pytest -o"*) echo "all passed"; exit "${FAILING:-0}" ;;
esac
"""


@pytest.fixture
def gpu(benchmark):
    return benchmark("gpu")


@pytest.fixture
def check(tmp_path):
    """Return a function that runs a copy of the script, where every Python is the stand-in."""
    repo, bin_ = tmp_path / "repo", tmp_path / "bin"
    (repo / "scripts").mkdir(parents=True)
    (repo / "tests").mkdir()
    (repo / "tests" / "test_a.py").write_text("@pytest.mark.cuda\n")
    (repo / "tests" / "test_b.py").write_text("import something_large\n")
    bin_.mkdir()
    for name in ("gpu_check.sh", "venv.sh"):
        shutil.copy(ROOT / "scripts" / name, repo / "scripts" / name)
    (bin_ / "python3").write_text(PYTHON)
    (bin_ / "python3").chmod(0o755)

    def run(*arguments: str, **env: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        log = tmp_path / "log"
        log.write_text("")
        environment = {**os.environ, "PATH": f"{bin_}:/usr/bin:/bin", "LOG": str(log), **env}
        command = ["bash", str(repo / "scripts" / "gpu_check.sh"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
        return done, log.read_text().splitlines()

    return run


def test_what_is_lacking_is_installed_then_tested_then_measured(check, tmp_path):
    done, asked = check("--only", "resnet50")
    assert done.returncode == 0, done.stderr
    assert [line for line in asked if "--system-site-packages" in line]
    installs = [line for line in asked if "pip install" in line]
    assert installs
    assert not any("--no-index" in line for line in installs)
    tests = next(line for line in asked if "pytest -o" in line)
    assert "-m cuda" in tests
    assert tests.endswith("tests/test_a.py")  # and no file without such tests, whose packages may be missing
    measured = asked[-1]
    assert measured.startswith("scripts/benchmarks/gpu.py --device cuda --markdown")
    assert measured.endswith("--only resnet50")
    assert (tmp_path / "outputs" / "gpu_check" / "tests.txt").read_text() == "all passed\n"


def test_without_a_network_packages_come_from_a_folder(check, tmp_path):
    (tmp_path / "wheels").mkdir()
    done, asked = check("--wheels", "wheels")
    assert done.returncode == 0, done.stderr
    installs = [line for line in asked if "pip install" in line]
    assert all(f"--no-index --find-links {tmp_path}/wheels" in line for line in installs)
    done, _ = check("--wheels", "wheels", NO_PACKAGES="1")
    assert done.returncode == 2
    assert "pip wheel --no-deps -w FOLDER antlr4-python3-runtime==4.9.3" in done.stderr
    done, asked = check("--wheels", "nowhere")
    assert (done.returncode, asked) == (2, [])
    assert done.stderr == "error: --wheels nowhere: there is no such folder\n"


def test_an_interpreter_that_is_given_is_taken_as_it_is(check, tmp_path):
    done, asked = check("--python", str(tmp_path / "bin" / "python3"), "--device", "cpu", "--tiny")
    assert done.returncode == 0, done.stderr
    assert not any("pip" in line or "venv" in line or "is_available" in line for line in asked)
    assert asked[-1].startswith("scripts/benchmarks/gpu.py --device cpu")


@pytest.mark.parametrize(
    ("wrong", "status", "measures"),
    [({"FAILING": "1"}, 1, True), ({"MISSED": "1"}, 1, True), ({"NO_GPU": "1"}, 2, False), ({"MISSED": "2"}, 2, True)],
)
def test_the_exit_status_says_what_went_wrong(check, wrong, status, measures):
    done, asked = check(**wrong)
    assert done.returncode == status, done.stderr
    assert ("gpu.py" in asked[-1]) == measures


def test_ratios_are_of_the_same_round_and_a_failed_task_costs_no_other(gpu, monkeypatch, tmp_path, capsys):
    rounds = {"bare": [10.0, 20.0, 40.0], "timm": [10.0, 10.0, 10.0], "hookline": [20.0, 20.0, 20.0]}

    def broken(setting):
        raise RuntimeError("out of memory\nat length")

    tasks = {
        "fast": lambda setting: gpu.Measured("images/s", rounds, {"bare": 0.95, "timm": 3.0}),
        "broken": broken,
        "stall": lambda setting: gpu.Measured("ms", {"loop": [100.0], "hookline": [7.0]}, {"loop": -0.1}),
    }
    monkeypatch.setattr(gpu, "TASKS", tasks)
    files = ["--markdown", str(tmp_path / "table.md"), "--json", str(tmp_path / "numbers.json")]
    status = gpu.main(["--device", "cpu", "--tiny", "--only", *tasks, *files])
    assert status == 1
    found = json.loads((tmp_path / "numbers.json").read_text())["tasks"]
    bare, timm = found["fast"]["ratios"]["bare"], found["fast"]["ratios"]["timm"]
    assert (bare["low"], bare["median"], bare["high"]) == (0.75, 1.0, 1.5)
    assert (bare["reached"], timm["reached"], found["stall"]["ratios"]["loop"]["reached"]) == (True, False, True)
    assert found["broken"]["failed"] == "RuntimeError: out of memory"
    table = (tmp_path / "table.md").read_text()
    assert table in capsys.readouterr().out
    assert "| fast | bare | 20 images/s (15 to 30) | 1.000 (0.750 to 1.500) | at least 0.95: reached |" in table
    assert "at least 3: missed" in table
    assert "| broken | | failed: RuntimeError: out of memory | | |" in table
    assert "| stall | loop | 100 ms (100 to 100) | 0.070 (0.070 to 0.070) | at most 0.1: reached |" in table
    assert "these numbers say that the script works, and nothing else" in table


def test_a_device_that_is_not_there_is_one_line(gpu, capsys):
    assert gpu.main(["--device", "cuda:99"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("--device='cuda:99': must be auto or cpu")
    assert len(printed.splitlines()) == 1


def test_every_contestant_runs_at_tiny_sizes(gpu, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
    tasks = ["resnet50", "epochs", "jpegs", "checkpoint"]
    status = gpu.main(["--device", "cpu", "--tiny", "--json", "numbers.json", "--only", *tasks])
    found = json.loads(Path("numbers.json").read_text())["tasks"]
    assert status == 0
    sides = {task: list(found[task]["values"]) for task in tasks}
    assert sides == {
        "resnet50": ["bare", "timm", "hookline"],
        "epochs": ["bare", "hookline"],
        "jpegs": ["usual", "hookline"],
        "checkpoint": ["in the loop", "hookline"],
    }
    for task in tasks:
        assert all(value["median"] > 0 for value in found[task]["values"].values())


TIMM = """
import sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert given["--model"] == "test_resnet" and "--amp" in sys.argv and "--torchcompile" not in sys.argv
for number in range(4):
    print(f"Train: 0 [{number:>4d}/4 ( 25%)]  Loss: 7.0 (7.0)  Time: 0.002s,  {100 + number:>7.2f}/s  (0.1s,   10.00/s)"
          "  LR: 1.000e-02  Data: 0.001 (0.001)")
"""


def test_timms_own_script_is_told_what_to_do_and_its_speed_is_read(gpu, tmp_path):
    import _timm_script

    script = tmp_path / "train.py"
    script.write_text(TIMM)
    settings = {"model": "test_resnet", "batch": "2", "workers": "1", "interval": "1", "device": "cpu"}
    assert _timm_script.timm_speed(script, tmp_path, tmp_path, settings, compiles=False) == 102.5
    script.write_text("raise SystemExit('no such option')")
    with pytest.raises(RuntimeError, match=r"train\.py ended with status 1: no such option"):
        _timm_script.timm_speed(script, tmp_path, tmp_path, settings, compiles=False)


@pytest.mark.slow
def test_timms_own_script_against_ours(gpu, tmp_path):
    (tmp_path / "train.py").write_text(TIMM)
    files = ["--timm", str(tmp_path / "train.py"), "--json", str(tmp_path / "numbers.json")]
    assert gpu.main(["--device", "cpu", "--tiny", "--only", "script", *files]) == 0
    values = json.loads((tmp_path / "numbers.json").read_text())["tasks"]["script"]["values"]
    assert list(values) == ["timm", "hookline"]
    assert values["hookline"]["median"] > 0


@pytest.mark.slow
def test_the_whole_script_on_a_cpu(tmp_path):
    options = ["--python", sys.executable, "--out", str(tmp_path), "--device", "cpu", "--tiny", "--only", "vit_s"]
    command = ["bash", str(ROOT / "scripts" / "gpu_check.sh"), *options, "startup"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "skipped" in (tmp_path / "tests.txt").read_text() or torch.cuda.is_available()
    found = json.loads((tmp_path / "numbers.json").read_text())["tasks"]
    assert list(found) == ["vit_s", "startup"]
    assert "| vit_s | timm |" in (tmp_path / "table.md").read_text()
