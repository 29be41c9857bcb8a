"""What the README says works: its commands, and its examples of everything that can be added."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys

import pytest

from hookline.analysis.range_test import find_lr
from hookline.commands.plot_lr import plot_lr
from hookline.commands.show_param_groups import show_param_groups
from hookline.experiment import train as train_task
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
PYTHON = [line for line in COMMANDS if line.startswith("python ") and "--" not in line]
TASKS = {
    "src/train.py": (train_task, "train"),
    "scripts/plot_lr.py": (plot_lr, "plot_lr"),
    "scripts/find_lr.py": (find_lr, "find_lr"),
    "scripts/show_param_groups.py": (show_param_groups, "show_param_groups"),
}
SHORT = ["runner.max_epochs=null", "runner.max_iters=2", "data.batch_size=8"]


def shortened(script: str, arguments: list[str]) -> list[str]:
    """Return the command's arguments with a run of two iterations instead of its own length."""
    if script in ("scripts/plot_lr.py", "scripts/show_param_groups.py"):
        return arguments
    if script == "scripts/find_lr.py":
        return [*arguments, "find.iterations=12"]
    rest = [a for a in arguments if not a.startswith(("runner.max_", "lr_schedule.step=", "lr_schedule.warmup_iters"))]
    warmup = any(a.startswith("lr_schedule.warmup=") for a in arguments)
    return [*rest, *SHORT, *(["lr_schedule.warmup_iters=1it"] if warmup else [])]


@pytest.mark.parametrize("command", PYTHON, ids=lambda c: c[:60])
def test_command(command, run_task, monkeypatch):
    _, script, *arguments = shlex.split(command)
    if "data=fashion_mnist" in command or "experiment=fashion_mnist" in command:
        from hookline.data.sets.fashion_mnist import DEBIAN

        if not DEBIAN.is_dir():
            pytest.skip("Debian's package dataset-fashion-mnist is not installed")
        arguments.append("data.val_batch_size=1000")
        arguments.append("hooks.evaluation=null")
    task, config_name = TASKS[script]
    finished = run_task(task, config_name, *shortened(script, arguments))
    assert finished.status == 0, finished.err
    assert "error" not in finished.err


def test_there_are_commands():
    assert len(PYTHON) >= 12
    assert any("-m " in command for command in PYTHON)


ADDITIONS = re.findall(r"### Add an? ([\w ]+)\n(.*?)(?=\n###? )", README, re.DOTALL)


@pytest.mark.parametrize(("what", "text"), ADDITIONS, ids=[what for what, _ in ADDITIONS])
def test_adding(what, text, tmp_path):
    for folder in ("conf", "src"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for path, content in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", text, re.DOTALL):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    (command,) = re.findall(r"^`PYTHONPATH=\. python (.*?)`$", text, re.MULTILINE)
    arguments = [a for a in shlex.split(command) if "max_epochs" not in a]
    finished = subprocess.run(
        [sys.executable, *arguments, "runner.max_epochs=null", "runner.max_iters=2", "data.batch_size=8"],
        cwd=tmp_path,
        env={"PYTHONPATH": ".", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert "done:" in finished.stdout


def test_every_addition_is_shown():
    assert [what for what, _ in ADDITIONS] == ["schedule", "optimizer", "hook", "model", "data set"]


def test_pictures_and_pages_exist():
    for path in re.findall(r"\]\(((?!http)[^)#]+)\)", README):
        assert (ROOT / path).exists(), path
