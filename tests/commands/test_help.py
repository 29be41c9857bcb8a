"""`--help` fits a page's width, shows what each option is, and is quick, as are config, completion and a wrong word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.conftest import CONF, ROOT, thinned

COMMANDS = {
    "check_data": "scripts/check_data.py",
    "train": "src/train.py",
    "find_lr": "scripts/find_lr.py",
    "model_info": "scripts/model_info.py",
    "plot_lr": "scripts/plot_lr.py",
    "show_data": "scripts/show_data.py",
    "show_param_groups": "scripts/show_param_groups.py",
}
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in ("parts", "hydra"))

# The tests share the texts, so one process of the suite runs them all.
pytestmark = pytest.mark.xdist_group("help")


def run(*arguments: str, columns: int = 80, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": str(columns), **environment}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    return {name: run(script, "--help").stdout for name, script in COMMANDS.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_it_shows_every_option_of_every_group(helps, name):
    for group in GROUPS:
        _, found, block = helps[name].partition(f"\n\n{group}=\n")
        assert found, group
        shown = [line.split()[0] for line in block.partition("\n\n")[0].splitlines()]
        assert shown == sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("name", COMMANDS)
def test_it_fits_80_columns_and_has_nothing_internal(helps, name):
    assert max(map(len, helps[name].splitlines())) <= 80
    assert "parts=" not in helps[name]
    assert "_target_" not in helps[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_its_three_examples_can_be_composed(helps, name, config):
    examples = [
        line.split()[2:] for line in helps[name].splitlines() if line.startswith(f"    python {COMMANDS[name]}")
    ]
    (_usage, *examples) = examples
    assert len(examples) == 3
    for words in examples:
        # A sweep's lists are taken at their first values.
        overrides = [w if "[" in w else w.partition(",")[0] for w in (w.strip("'") for w in words if w != "-m")]
        assert set(config(*overrides, name=name)) >= {"data", "model"}


@pytest.mark.parametrize("script", ["scripts/split_data.py", "src/predict.py", "scripts/cam.py", "scripts/export.py"])
def test_a_command_without_groups_shows_its_keys(script):
    done = run("-X", "importtime", script, "--help")
    shown, imported = done.stdout, done.stderr
    assert max(map(len, shown.splitlines())) <= 80
    assert not re.search(r"\| +(torch|timm|matplotlib|av|pytorch_grad_cam)$", imported, re.MULTILINE)
    keys = yaml.safe_load((CONF / f"{Path(script).stem}.yaml").read_text())
    for key in keys.keys() - {"defaults", "hydra"}:
        assert f"\n  {key}=" in shown
    assert "optimizer" not in shown


def test_it_says_what_an_option_is_and_which_is_the_default(helps):
    lines = [" ".join(line.split()) for line in helps["train"].splitlines()]
    assert "sgd * Stochastic gradient descent with momentum" in lines
    assert "adam Adam (Kingma and Ba, 2015)" in lines


def test_a_folder_of_one_s_own_is_in_it(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("# Two layers of mine. More of it.\n_target_: mine.Model\n")
    shown = run("src/train.py", "--config-dir", str(tmp_path), "--help").stdout
    assert "Two layers of mine\n" in shown
    assert "More of it" not in shown


@pytest.mark.parametrize(
    "arguments",
    thinned([["--help"], ["--cfg", "job"], ["optimizer=SGD"], ["lr=0.1"], ["-sc", "query=bash"]], 2),
    ids=" ".join,
)
@pytest.mark.parametrize("name", thinned(COMMANDS))
def test_what_needs_no_model_waits_for_none(name, arguments):
    done = run(
        "-X", "importtime", COMMANDS[name], *arguments, COMP_LINE=f"python {COMMANDS[name]} lr_sch", COMP_POINT="99"
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert "hydra" in imported
    assert not imported & {"torch", "torchvision", "timm", "sklearn", "tensorboard", "matplotlib"}


def test_a_run_imports_nothing_that_it_does_not_use(tmp_path):
    folder = f"hydra.run.dir={tmp_path}"
    done = run("-X", "importtime", "src/train.py", "runner.max_iters=1", "logger=none", "hooks.lr_curve=null", folder)
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert {"torch", "timm"} <= imported
    assert not imported & {"torchmetrics", "matplotlib", "tensorboard", "tensorflow", "scipy.signal"}


def test_the_config_is_shown_as_yaml():
    assert yaml.safe_load(run("src/train.py", "--cfg", "job").stdout)["optimizer"]["lr"] == 0.1
