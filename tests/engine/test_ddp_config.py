"""A config makes the same run and the same files with several processes as with one."""

from __future__ import annotations

import csv

import pytest
import torch
from tests.engine import ddp_runs
from tests.engine.together import together

from hookline.engine.processes import Processes

# The last batch of an epoch is smaller, and not even.
SHORT = ["runner.max_epochs=2", "runner.device=cpu", "data.samples_per_epoch=225", "data.batch_size=150"]
SHORT += ["auto_scale_lr.base_batch_size=300", "hooks.lr_curve=null", "logger=csv", "runner.threads=1"]
SHORT += ["model._target_=tests.engine.ddp_runs.NetOfConfig", "data.transforms.resize=null"]
NORMS = "distributed.sync_batchnorm=true"
RUNS = [
    [*SHORT, NORMS],
    [*SHORT, NORMS, "data.workers=2", "data.in_memory=false"],
    [*SHORT, "distributed=ddp", "mix=both", "+model.dropout=0.2"],
    [*SHORT, "data.batch_size=1"],
]

# The tests share what the processes gave, so one process of the suite runs them all.
pytestmark = pytest.mark.xdist_group("ddp_config")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def alone(folders):
    return ddp_runs.each_from_config(Processes(), str(folders[0]), RUNS[:2])


@pytest.fixture(scope="module")
def found(folders):
    return together(2, ddp_runs.each_from_config, str(folders[1]), RUNS, limit=120)


@pytest.mark.parametrize("number", [0, 1], ids=["in memory", "by workers"])
def test_the_run_is_that_of_one_process(alone, found, number):
    expected = alone[number]
    for answers in found:
        own = answers[number]
        assert own["weights"].keys() == expected["weights"].keys()
        torch.testing.assert_close(own["weights"], expected["weights"], rtol=1e-4, atol=1e-4)
        assert [row.keys() for row in own["history"]] == [row.keys() for row in expected["history"]]
        assert own["rows"] == found[0][number]["rows"]


def test_the_files_are_those_of_one_process(folders, alone, found):
    one, two = (sorted(str(p.relative_to(f / "0")) for p in (f / "0").rglob("*") if p.is_file()) for f in folders)
    assert one == two
    rows = [list(csv.DictReader((folder / "0" / "metrics.csv").open())) for folder in folders]
    assert len(rows[0]) == len(rows[1])
    checkpoints = [torch.load(f / "0" / "checkpoints" / "last.pt", weights_only=True) for f in folders]
    assert list(checkpoints[0]["parts"]["model"]) == list(checkpoints[1]["parts"]["model"])
    assert checkpoints[0]["parts"].keys() == checkpoints[1]["parts"].keys()


def test_without_synchronised_batch_norms_all_processes_have_the_same_model(found):
    first, second = (answers[2] for answers in found)
    torch.testing.assert_close(first["weights"], second["weights"], rtol=0, atol=0)
    torch.testing.assert_close(first["buffers"], second["buffers"], rtol=0, atol=0)


def test_a_batch_that_cannot_be_shared_is_told(found):
    for answers in found:
        assert answers[3] == "data.batch_size=1: must be at least 2, a sample for each process"
