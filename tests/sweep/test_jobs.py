"""A sweep read from its directory."""

from __future__ import annotations

import json
import os

import pytest

from hookline.config.errors import ConfigError
from hookline.sweep.jobs import read_sweep
from hookline.sweep.key import key_of
from hookline.sweep.lock import take

CONFIG = {"evaluation": {"monitor": "val/loss", "mode": None}, "seed": 0}


@pytest.fixture
def job(tmp_path):
    """Return a function that makes the directory of a job."""

    def make(name, number=0, state=None, **config):
        folder = tmp_path / name
        folder.mkdir()
        stored = {
            "number": number,
            "swept": [f"seed={number}"],
            "overrides": [f"seed={number}", "x=1"],
            "config": CONFIG | config,
            "key": key_of(config),
        }
        (folder / "job.json").write_text(json.dumps(stored))
        if state is not None:
            (folder / "state.json").write_text(json.dumps(state))
        return folder

    return make


def test_jobs_come_in_the_order_in_which_they_were_composed(job, tmp_path):
    job("b", 0, {"state": "done", "result": {"final": {"val/loss": 1.0}}})
    job("a", 1)
    job("c", 2, {"state": "failed", "reason": "no"})
    sweep = read_sweep(tmp_path)
    assert (sweep.name, sweep.monitor, sweep.mode) == (tmp_path.name, "val/loss", "min")
    assert [(j.name, j.state, j.reason) for j in sweep.jobs] == [
        ("b", "done", None),
        ("a", "waiting", None),
        ("c", "failed", "no"),
    ]
    assert sweep.jobs[0].result == {"final": {"val/loss": 1.0}}
    assert sweep.jobs[1].overrides == ["seed=1"]


def test_a_job_runs_as_long_as_its_lock_is_held(job, tmp_path):

    held = take(job("a", state={"state": "running"}) / "lock")
    assert read_sweep(tmp_path).jobs[0].state == "running"
    os.close(held)
    assert read_sweep(tmp_path).jobs[0].state == "interrupted"


def test_a_multirun_of_another_launcher(train, tmp_path):
    train("-m", "hydra/launcher=basic", "seed=0,1,-1", "runner.max_iters=2", "evaluation=none", "hydra.sweep.dir=sweep")
    sweep = read_sweep(tmp_path / "sweep")
    assert (sweep.monitor, sweep.mode) == ("train/loss", "min")
    assert [(j.name, j.overrides, j.state) for j in sweep.jobs] == [
        ("0", ["seed=0"], "done"),
        ("1", ["seed=1"], "done"),
        ("2", ["seed=-1"], "failed"),
    ]
    assert sweep.jobs[1].result["final"]["train/loss"] > 0
    assert sweep.jobs[1].config["runner"]["max_epochs"] is None
    assert "seed=-1" in sweep.jobs[2].reason
    assert len({j.key for j in sweep.jobs}) == 3


def test_what_is_no_sweep(tmp_path):
    with pytest.raises(ConfigError, match="there is no such sweep directory"):
        read_sweep(tmp_path / "none")
    with pytest.raises(ConfigError, match="is no sweep"):
        read_sweep(tmp_path)


def test_a_damaged_file_is_named(job, tmp_path):
    (job("a") / "job.json").write_text("{")
    with pytest.raises(ConfigError, match=r"job\.json: cannot be read"):
        read_sweep(tmp_path)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"logger": {"interval": 3}}, True),
        ({"data": {"workers": 2, "root": "a"}}, True),
        ({"data": {"workers": 1, "root": "b"}}, False),
        ({"launcher": {"slots": 1}}, True),
        ({"seed": 1}, False),
    ],
)
def test_what_makes_a_job(change, same):
    config = {"seed": 0, "data": {"workers": 1, "root": "a"}, "logger": {"interval": 1}}
    assert (key_of(config) == key_of(config | change)) is same
