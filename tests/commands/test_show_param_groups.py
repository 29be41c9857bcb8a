"""scripts/show_param_groups.py as a user calls it."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


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
