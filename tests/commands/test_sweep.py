"""Sweeps from the command line: what is run, skipped, continued and told."""

from __future__ import annotations

import json
import math
import shlex
import sys

import pytest
import yaml
from tests.conftest import thinned

from hookline.analysis.lasting import lasting
from hookline.sweep.jobs import read_sweep

SHORT = ["runner.max_iters=4", "data.transforms.resize=null", "logger.tensorboard=null", "hooks.lr_curve=null"]
SWEEP = ["-m", *SHORT, "launcher.name=mine", "launcher.slots=2"]


NO_NAMES = ["..", "../../x", "/abs", "a/b", ".hidden", "-m", "[1, 2]", "a" * 101]


@pytest.fixture
def sweep(train, tmp_path):
    """Return a function that runs a sweep and returns what it printed, and the sweep."""

    def run(*arguments: str):
        finished = train(*SWEEP, *arguments)
        return finished, read_sweep(tmp_path / "outputs" / "sweeps" / "mine")

    return run


def test_it_goes_on_where_it_was(sweep):
    finished, first = sweep("seed=0,1")
    assert finished.status == 0, finished.err
    assert finished.out.splitlines()[-1] == "done 2, failed 0, left 0 of 2 jobs: outputs/sweeps/mine"
    assert [(job.name, job.state, job.overrides) for job in first.jobs] == [
        ("seed=0", "done", ["seed=0"]),
        ("seed=1", "done", ["seed=1"]),
    ]
    written = [(job.directory / "state.json").stat().st_mtime_ns for job in first.jobs]

    finished, second = sweep("seed=0,1,2")
    assert finished.out.count("begins: ") == 1
    assert [job.name for job in second.jobs] == ["seed=0", "seed=1", "seed=2"]
    assert [(job.directory / "state.json").stat().st_mtime_ns for job in second.jobs[:2]] == written
    assert math.isclose(second.jobs[2].result["final"]["val/top1"], second.jobs[2].result["best"]["val/top1"])


def test_jobs_that_are_equal_run_once(sweep):
    finished, found = sweep("seed=3", "optimizer.lr=0.1,0.10,1e-1", "logger.interval=1,2")
    assert len(found.jobs) == 1
    assert "1 job, 5 more are equal to one of them" in finished.out


def test_a_job_is_what_was_stored_and_equal_to_the_same_run_alone(sweep, train, tmp_path):
    _, found = sweep("optimizer.lr=0.05,0.1", "hydra.sweep.subdir=unused")
    job = found.jobs[0]
    stored = json.loads((job.directory / "job.json").read_text())
    assert {"config", "overrides", "swept", "key", "commit", "diff", "threads"} <= set(stored)
    assert stored["config"]["optimizer"]["lr"] == 0.05
    assert "launcher" not in stored["config"]
    threads = yaml.safe_load((job.directory / ".hydra" / "config.yaml").read_text())["runner"]["threads"]
    train(*SHORT, "optimizer.lr=0.05", f"runner.threads={threads}", "hydra.run.dir=alone")
    (origin,) = json.loads((job.directory / "origin.json").read_text())
    assert origin["command"] == shlex.join(sys.orig_argv)
    assert lasting(job.directory) == lasting(tmp_path / "alone")


def test_a_job_that_fails_is_told_and_run_again_on_request(sweep, tmp_path, monkeypatch):
    (tmp_path / "moody.py").write_text(
        "import os\nfrom hookline.hooks import Hook\n"
        "class Moody(Hook):\n    def before_run(self, runner):\n        os.path.exists('mended') or os.abort()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    arguments = ["+hooks.moody._target_=moody.Moody", "seed=0,-1"]
    finished, found = sweep(*arguments)
    assert finished.status == 1
    assert [job.state for job in found.jobs] == ["failed", "failed"]
    assert "error in job seed=0: its process was killed by SIGABRT; log: outputs/sweeps/mine/seed=0/" in finished.err
    assert "error in job seed=-1: seed=-1: must be an integer >= 0" in finished.err
    assert finished.out.splitlines()[-1].startswith("done 0, failed 2, left 0 of 2 jobs")

    (tmp_path / "mended").touch()
    finished, found = sweep(*arguments)
    assert finished.status == 1
    assert "begins" not in finished.out
    finished, found = sweep(*arguments, "launcher.retry_failed=true")
    assert finished.status == 2
    assert [job.state for job in found.jobs] == ["done", "failed"]


def test_a_hanging_job_is_ended(sweep, tmp_path, monkeypatch):
    (tmp_path / "hanging.py").write_text(
        "import time\nfrom hookline.hooks import Hook\n"
        "class Hang(Hook):\n    def before_run(self, runner):\n        runner.seed and time.sleep(1000)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    finished, found = sweep("seed=1,1", "+hooks.hang._target_=hanging.Hang", "launcher.job_timeout=2")
    assert finished.status == 1
    assert found.jobs[0].reason == "ran longer than launcher.job_timeout=2 seconds"
    assert "error in job seed=1: ran longer than launcher.job_timeout=2 seconds; log: " in finished.err


def test_what_would_run_is_listed(sweep, train, tmp_path):
    finished = train(*SWEEP, "seed=0,1", "launcher.dry_run=true")
    assert finished.status == 0
    assert "        new  seed=0\n        new  seed=1\n" in finished.out
    assert not list(tmp_path.glob("outputs/sweeps/mine/*/"))
    sweep("seed=0,0")
    finished = train(*SWEEP, "seed=0,1", "launcher.dry_run=true")
    assert "       done  seed=0\n        new  seed=1\n" in finished.out
    assert "left 1; " in finished.out
    assert " to go" in finished.out


def test_what_has_changed_meanwhile_is_told(sweep, tmp_path):
    _, found = sweep("seed=0")
    path = found.jobs[0].directory / "job.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"code": "another"}))
    finished, _ = sweep("seed=0")
    assert "warning: the code has changed since these jobs were composed: 1 done" in finished.out

    option = tmp_path / "local" / "conf" / "optimizer" / "own.yaml"
    option.parent.mkdir(parents=True)
    option.write_text("_target_: torch.optim.SGD\nlr: 0.1\n")
    sweep("optimizer=own")
    option.write_text("_target_: torch.optim.SGD\nlr: 0.2\n")
    finished, found = sweep("optimizer=own")
    assert "the config is another one than before, so this is a new job: optimizer.lr: 0.1 -> 0.2" in finished.out
    assert [job.config["optimizer"]["lr"] for job in found.jobs[1:]] == [0.1, 0.2]


def test_a_job_that_diverged_has_the_worst_score(sweep):
    finished, found = sweep("optimizer.lr=1e30")
    assert finished.status == 0
    assert found.jobs[0].result["status"] == "diverged"
    assert ", diverged, " in finished.out


@pytest.mark.parametrize(
    ("argument", "message"),
    thinned(
        [
            ("launcher.slots=0", "launcher.slots=0: must be an integer > 0"),
            ("launcher.slots=many", "launcher.slots=many: must be auto or an integer > 0"),
            ("launcher.job_timeout=-1", "launcher.job_timeout=-1: must be a number > 0"),
            ("launcher.max_failures=0.5", "launcher.max_failures=0.5: must be an integer > 0"),
            ("launcher.retry_failed=maybe", "launcher.retry_failed=maybe: must be true or false"),
            ("launcher.slot=1", "launcher.slot: there is no such key. Did you mean 'slots'?"),
            *((f"launcher.name={name}", f"launcher.name={name}: must be one folder's name") for name in NO_NAMES),
            ("launcher.name='a\nb'", "launcher.name='a\\nb': must be one folder's name"),
            (
                "data.split_seed=range(0,100000000)",
                "seed=0,1 data.split_seed=range(0,100000000): 200000000 jobs are too many",
            ),
            ("lr_schedule.warmpu=linear", "lr_schedule.warmpu: there is no such key"),
        ]
    ),
)
def test_wrong_options(argument, message, train):
    finished = train("-m", "seed=0,1", argument)
    assert finished.status == 2
    assert finished.err.startswith(f"error: {message}")
    assert len(finished.err.splitlines()) == 1


def test_slots_are_counted_by_cores_and_threads_by_what_limits_a_process(train, monkeypatch):
    monkeypatch.setattr("hookline.commands.sweep.allowed_cores", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    listed = train("-m", "seed=0,1,2,3", "runner.device=cpu", "launcher.slots=auto", "launcher.dry_run=true")
    assert "composing 4 jobs\n" in listed.out
    assert "; 4 at a time; " in listed.out


def test_a_damaged_job_is_told_in_one_line(train, tmp_path):
    folder = tmp_path / "outputs" / "sweeps" / "mine" / "seed=0"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text('{"key": "x"}')
    finished = train("-m", "launcher.name=mine", "seed=0,1", "launcher.dry_run=true")
    assert finished.status == 2
    assert finished.err == (
        f"error: {folder}/job.json: is damaged: number: is missing; delete {folder}, and the job is run anew\n"
    )


def test_the_launcher_of_joblib_still_runs(train, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    # In this process, as a test has no module that a process of joblib's could import.
    joblib = ["hydra/launcher=joblib", "hydra.launcher.backend=threading", "hydra.launcher.n_jobs=1"]
    finished = train("-m", *SHORT, *joblib, "seed=0,1", "hydra.sweep.dir=there")
    assert finished.status == 0, finished.err
    assert [job.state for job in read_sweep(tmp_path / "there").jobs] == ["done", "done"]
