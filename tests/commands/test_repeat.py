"""A past run is repeated from the config that it left, as the README says."""

from __future__ import annotations

import csv
import re

import pytest
from omegaconf import OmegaConf
from tests.conftest import ROOT

SHORT = ["runner.max_iters=3", "evaluation.interval=1", "optimizer=adamw", "lr_schedule.warmup=linear"]


@pytest.fixture
def recipe() -> str:
    (found,) = re.findall(r"`python src/train.py\s(--config-dir[^`]+)`", (ROOT / "README.md").read_text())
    return " ".join(found.split())


def test_the_same_numbers_in_a_directory_of_its_own(train, recipe, tmp_path):
    assert train(*SHORT, "lr_schedule.warmup_iters=2", "hydra.run.dir=first").status == 0
    again = train(*recipe.replace("RUN", "first").replace("NEW", "second").split())
    assert again.status == 0, again.err
    rows = [list(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in ("first", "second")]
    assert [row["val/loss"] for row in rows[0]] == [row["val/loss"] for row in rows[1]]
    assert "run directory: second" in (tmp_path / "second" / "train.log").read_text()
    assert isinstance(OmegaConf.load(tmp_path / "first" / ".hydra" / "config.yaml").runner.threads, int)
    assert (tmp_path / "second" / ".hydra" / "config.yaml").read_text() == (
        tmp_path / "first" / ".hydra" / "config.yaml"
    ).read_text()
