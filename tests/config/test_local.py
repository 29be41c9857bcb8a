"""Users' own configs and code in the folder `local`: every command finds them, and nothing of the repository minds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from tests.conftest import ROOT
from tests.test_docs import SECTIONS

from hookline.commands.plot_lr import plot_lr
from hookline.commands.show_param_groups import show_param_groups
from hookline.config import local

# What the docs tell a user to write, and what the linter and the tests on style would not let pass elsewhere.
FILES = {path: content for section in SECTIONS for path, content in section.files.items()} | {
    "local/untidy.py": "import torch, os\nimport math\nx = [ 1,2 ]\n",
    "local/conf/lr_schedule/untidy.yaml": "_target_: hookline.schedules.Exp\ngamma: 0.5\n",
    "local/conf/optimizer/untidy.yaml": "_target_: torch.optim.SGD\nlr: 0.25\n",
}


@pytest.fixture
def copy(tmp_path):
    """Return a copy of the repository, under git, in which a user has followed the docs."""
    folder = tmp_path / "repository"
    for name in ("src", "conf", "scripts", "docs", "tests"):
        ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    (folder / "local").mkdir()
    for name in ("pyproject.toml", ".gitignore", "README.md", "CONTRIBUTING.md", "local/README.md"):
        shutil.copy(ROOT / name, folder / name)
    commit = ["-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "x"]
    for arguments in (["init", "-q"], ["add", "-A"], commit):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    for path, content in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return folder


@pytest.mark.slow
def test_git_linter_and_tests_on_style_leave_it_alone(copy):
    commands = [
        [sys.executable, "-m", "ruff", "check", "--no-cache", "."],
        [sys.executable, "-m", "ruff", "format", "--no-cache", "--check", "."],
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "tests/schedules/test_options.py", "-k", "comment or page"],
    ]
    for command in commands:
        environment = {**os.environ, "PYTHONPATH": "src"}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    status = subprocess.run(["git", "status", "--porcelain"], cwd=copy, capture_output=True, text=True, check=True)
    assert status.stdout == ""
    # Where there is no git, either.
    shutil.rmtree(copy / ".git")
    done = subprocess.run(commands[0], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_it_is_found_from_any_folder(copy, tmp_path):
    command = [sys.executable, str(copy / "scripts" / "plot_lr.py"), "lr_schedule=half_cosine"]
    environment = {**os.environ, "PYTHONPATH": str(copy / "src")}
    done = subprocess.run(
        [*command, "preview.iters_per_epoch=9"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def written(tmp_path):
    for path, content in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)


def test_every_command_finds_it_in_the_working_directory(written, run_task, train):
    finished = run_task(plot_lr, "plot_lr", "lr_schedule=half_cosine", "preview.iters_per_epoch=9")
    assert finished.status == 0, finished.err
    finished = run_task(show_param_groups, "show_param_groups", "optimizer=untidy")
    assert "0.25" in finished.out
    finished = train("optimizer=sign_sgd", "lr_schedule=untidy", "data=stripes", "runner.max_iters=2")
    assert finished.status == 0, finished.err


def test_an_option_of_ones_own_may_name_another_class(written, run_task):
    # What the option brings along and the other class does not take is left out, as for the project's options.
    other = ["optimizer=sign_sgd", "optimizer._target_=torch.optim.Rprop"]
    finished = run_task(show_param_groups, "show_param_groups", *other)
    assert finished.status == 0, finished.err


def test_the_projects_own_options_cannot_be_changed_by_it(run_task, tmp_path):
    (tmp_path / "local" / "conf" / "optimizer").mkdir(parents=True)
    (tmp_path / "local" / "conf" / "optimizer" / "sgd.yaml").write_text("_target_: torch.optim.SGD\nlr: 0.75\n")
    (tmp_path / "local" / "timm.py").write_text("raise RuntimeError('not timm')\n")
    finished = run_task(show_param_groups, "show_param_groups", "optimizer=sgd")
    assert finished.status == 0, finished.err
    assert "0.75" not in finished.out


def test_a_misspelt_option_is_told_with_ones_own(written, run_task):
    finished = run_task(plot_lr, "plot_lr", "lr_schedule=half_cosin")
    assert finished.status == 2
    assert "Did you mean 'half_cosine'" in finished.err


@pytest.mark.parametrize("place", ["", "checkpoints", "evaluation", "a/b"])
@pytest.mark.parametrize("mark", ["checkpoints/iter_00000009.pt", ".hydra/config.yaml"])
def test_one_in_a_run_directory_is_left_out(place, mark, tmp_path, monkeypatch):
    (tmp_path / mark).parent.mkdir()
    (tmp_path / mark).touch()
    (tmp_path / place / "local" / "conf").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / place)
    assert tmp_path not in {parent for folder in local.folders() for parent in folder.parents}


def test_one_beside_a_checkpoint_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "local").mkdir()
    monkeypatch.chdir(tmp_path)
    assert local.folders()[0] == tmp_path / "local"
    (tmp_path / "best.pt").touch()
    assert tmp_path / "local" not in local.folders()


def test_its_modules_are_found_and_no_file_of_paths_is_run(tmp_path, monkeypatch):
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "owned.pth").write_text("import pathlib; pathlib.Path('owned').touch()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    local.register()
    local.register()
    assert sys.path.count(str(tmp_path / "local")) == 1
    assert not (tmp_path / "owned").exists()
