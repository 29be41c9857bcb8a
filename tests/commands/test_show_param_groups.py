"""scripts/show_param_groups.py as a user calls it."""

from __future__ import annotations

import csv
import subprocess
import sys

import pytest
import timm
from tests.conftest import ROOT, thinned

from hookline.commands.show_param_groups import show_param_groups


def show(cwd, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "show_param_groups.py"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_prints_the_table_and_writes_only_what_is_asked_for(tmp_path):
    done = show(tmp_path, "param_groups=paramwise", "param_groups.norm_decay_mult=0", "preview.output_dir=there")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["group", "tensors", "parameters", "lr", "weight", "decay"]
    assert "norm_no_decay" in done.stdout
    assert "there/param_groups.csv" in done.stdout
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / "there" / "param_groups.csv"]
    rows = list(csv.DictReader((tmp_path / "there" / "param_groups.csv").open()))
    assert {row["weight_decay"] for row in rows} == {"0.0", "0.0005"}


def test_wrong_input_is_one_message(tmp_path):
    done = show(tmp_path, "param_groups=paramwse")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Did you mean 'paramwise'" in done.stderr


@pytest.fixture
def table(run_task):
    """Return a function: the table for these arguments, by the group's name, of what the command prints."""

    def run(*arguments: str) -> dict[str, list[str]]:
        finished = run_task(show_param_groups, "show_param_groups", *arguments)
        assert finished.status == 0, finished.err
        _, *lines = [line.split() for line in finished.out.splitlines()]
        return {name: cells for name, *cells in lines}

    return run


CLOSED = "data._target_=tests.commands.sources.Closed"


@pytest.mark.parametrize(
    ("arguments", "tensors"),
    [
        ([], 47),
        (["param_groups=layer_decay", "optimizer=adamw"], 47),
        (["param_groups=paramwise", "param_groups.head_lr_mult=10", "auto_scale_lr.base_batch_size=32"], 47),
        (["freeze=backbone"], 2),
        (["loss.weight=balanced", "mix=mixup", "lr_schedule.min_lr=-1", "runner.max_epochs=0"], 47),
    ],
)
def test_no_data_are_read(arguments, tensors, table):
    assert sum(int(cells[0]) for cells in table(CLOSED, *arguments).values()) == tensors


def test_the_data_set_decides_how_many_classes_there_are(table):
    ten, twelve = (int(table(*data)["base"][1].replace(",", "")) for data in ([], [CLOSED]))
    assert twelve - ten == 2 * (timm.create_model("test_resnet").num_features + 1)


def test_a_data_folder_need_not_exist(table, tmp_path):
    assert table("data=fashion_mnist", f"data.root={tmp_path}/nowhere", "param_groups=layer_decay")


@pytest.mark.parametrize(
    "arguments",
    thinned(
        [
            ["param_groups=paramwise", "param_groups.norm_decay_mult=0", "param_groups.head_lr_mult=3"],
            ["param_groups=layer_decay", "optimizer=adamw", "auto_scale_lr.base_batch_size=16"],
            ["freeze.until=layer1", "param_groups=paramwise", "param_groups.bias_lr_mult=2"],
        ],
        2,
    ),
    ids=" ".join,
)
def test_the_table_is_that_of_the_training(arguments, run_task, train):
    shown = run_task(show_param_groups, "show_param_groups", *arguments).out
    trained = train(*arguments, "runner.max_iters=1").out
    assert shown.strip("\n") in trained
