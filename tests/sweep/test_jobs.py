"""A sweep read from its directory."""

from __future__ import annotations

import json
import os

import pytest
from tests.sweep.sweeps import write_job

from hookline.config.errors import ConfigError
from hookline.sweep.jobs import read_sweep
from hookline.sweep.key import key_of
from hookline.sweep.lock import take
from hookline.sweep.outcomes import outcomes_of

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


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": None},
        {"overrides": None},
        {"overrides": [1]},
        {"swept": "seed=0"},
        {"config": []},
        {"number": "1"},
        {"cwd": 3},
        {"threads": "two"},
        {"hydra": []},
    ],
    ids=str,
)
def test_a_stored_job_that_is_none_is_named(wrong, job, tmp_path):
    folder = job("a")
    stored = json.loads((folder / "job.json").read_text()) | wrong
    (folder / "job.json").write_text(json.dumps(stored))
    with pytest.raises(ConfigError) as told:
        read_sweep(tmp_path)
    assert str(told.value).startswith(f"{folder}/job.json: is damaged: {next(iter(wrong))}: must be ")
    assert str(told.value).endswith(f"; delete {folder}, and the job is run anew")


@pytest.mark.parametrize("text", ["", "{", "\0\0", "[]", "3", "{}", '{"key": "x"}', "[" * 100_000])
@pytest.mark.parametrize("name", ["job.json", "state.json"])
def test_a_file_of_a_job_that_is_none_is_named(name, text, job, tmp_path):
    folder = job("a")
    (folder / name).write_text(text)
    with pytest.raises(ConfigError) as told:
        read_sweep(tmp_path)
    assert str(told.value).startswith(f"{folder / name}: ")
    assert str(told.value).endswith(f"; delete {folder}, and the job is run anew")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"state": "finished"}, "state: must be one of waiting, running, interrupted, done, failed, not 'finished'"),
        ({"state": []}, "state: must be one of "),
        ({"state": "done", "result": [1]}, "result: must be "),
        ({"state": "done", "result": {"best": "x"}}, "result: must be "),
        ({"state": "done", "value": "x"}, "value: must be a number as text"),
        ({"state": "failed", "exit_status": "x"}, "exit_status: must be an integer or null, not 'x'"),
        ({"state": "interrupted", "seconds": "x"}, "seconds: must be a number or null, not 'x'"),
    ],
    ids=str,
)
def test_a_state_that_is_none_is_named(state, reason, job, tmp_path):
    folder = job("a", state=state)
    with pytest.raises(ConfigError, match="and the job is run anew") as told:
        read_sweep(tmp_path)
    assert str(told.value).startswith(f"{folder}/state.json: is damaged: {reason}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".hydra/config.yaml", "[1]"),
        (".hydra/config.yaml", "a: ["),
        (".hydra/overrides.yaml", "- a\n  b: ["),
        (".hydra/overrides.yaml", "a: 1"),
        ("result.json", "{}"),
        ("result.json", '{"status": "well"}'),
        ("result.json", '{"status": "completed", "best": 3}'),
        ("status.json", '{"status": "running", "pid": "x", "host": "h"}'),
    ],
)
def test_a_damaged_file_of_another_launchers_job_is_named(name, text, tmp_path):
    write_job(tmp_path / "0", {"optimizer.lr": 0.1}, [50.0])
    (tmp_path / "0" / name).write_text(text)
    with pytest.raises(ConfigError) as told:
        read_sweep(tmp_path)
    assert str(told.value).startswith(f"{tmp_path / '0' / name}: ")
    assert str(told.value).endswith(f"; delete {tmp_path / '0'}, and the report leaves the job out")
    assert "\n" not in str(told.value)


def test_a_damaged_table_costs_a_job_its_curve_alone(tmp_path, capsys):
    for seed in range(2):
        write_job(tmp_path / str(seed), {}, [50.0 + seed], seed=seed)
    (tmp_path / "0" / "metrics.csv").write_bytes(b"\0" * 1_000_000)
    found = outcomes_of([read_sweep(tmp_path)], "val/top1")
    assert [(one.score, bool(one.history)) for one in found] == [(50.0, False), (51.0, True)]
    assert capsys.readouterr().err.startswith(f"warning: {tmp_path}/0/metrics.csv: cannot be read")


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
