"""A search from the command line: points, values, pruning, the best point as a recipe."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("optuna")

from tests.conftest import ROOT

from hookline.commands.search import outcome_of, rows_of

SEARCH = ["-m", "hydra/sweeper=optuna", "hydra/sweeper/pruner=none"]


# A task without training: its number is the better, the nearer the learning rate is to 0.1.
def value_of(cfg):
    lr = cfg.optimizer.lr
    if cfg.seed == 13:
        raise ValueError("bad luck")
    return -abs(math.log10(lr / 0.1))


@pytest.fixture
def search(run_task):
    def run(*arguments: str):
        return run_task(value_of, "train", *SEARCH, "hydra/launcher=basic", "launcher.name=mine", *arguments)

    return run


SPACE = ["hydra.sweep.dir=outputs/sweeps/mine", "optimizer.lr=tag(log,interval(0.001,1))"]


def trials(cwd) -> list[dict]:
    """The journal's trials: Optuna's own reading of it."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(cwd / "outputs/sweeps/mine/study.journal")))
    study = optuna.load_study(study_name="search", storage=storage)
    return [{"state": t.state.name, "value": t.value, **t.params} for t in study.get_trials(deepcopy=False)]


def test_a_search_asks_tells_and_leaves_a_recipe_that_runs(search, config):
    done = search(*SPACE, "hydra.sweeper.n_trials=6", "optimizer.momentum=0.8,0.9", "lr_schedule=step")
    assert done.status == 0, done.err
    assert "trials: 6 complete; 0 left to ask for" in done.out
    found = trials(done.cwd)
    best = max(found, key=lambda trial: trial["value"])
    assert best["value"] == pytest.approx(-abs(math.log10(best["optimizer.lr"] / 0.1)), abs=1e-3)
    assert "python src/train.py experiment=best_mine" in done.out
    cfg = config("experiment=best_mine")
    assert cfg.optimizer.lr == pytest.approx(best["optimizer.lr"], rel=1e-3)
    assert str(cfg.optimizer.momentum) == best["optimizer.momentum"]
    assert cfg.lr_schedule._target_ == "hookline.schedules.Step"


def test_the_same_command_with_more_trials_goes_on_with_new_points(search):
    first = search(*SPACE, "hydra.sweeper.n_trials=3")
    assert first.status == 0, first.err
    more = search(*SPACE, "hydra.sweeper.n_trials=5")
    assert more.status == 0, more.err
    rates = [trial["optimizer.lr"] for trial in trials(more.cwd)]
    assert len(set(rates)) == 5
    again = search(*SPACE, "hydra.sweeper.n_trials=5")
    assert "5 complete; 0 left" in again.out


def test_a_failed_job_is_a_failed_trial_and_stops_no_other(search):
    done = search(*SPACE, "hydra.sweeper.n_trials=3", "seed=13", "hydra.sweeper.batch=2")
    assert done.status == 1
    assert [trial["state"] for trial in trials(done.cwd)] == ["FAIL"] * 3
    assert "no trial has come to its end with a number yet" in done.out


def test_a_search_goes_on_with_the_settings_that_it_began_with(search, config):
    first = search(*SPACE, "hydra.sweeper.n_trials=2", "runner.max_epochs=3", "optimizer.momentum=0.8")
    assert first.status == 0, first.err
    changed = search(*SPACE, "hydra.sweeper.n_trials=4", "runner.max_epochs=4", "optimizer.momentum=0.8")
    assert changed.status == 2
    assert "error: runner.max_epochs=4: was 3 when the search mine began" in changed.err
    assert len(trials(changed.cwd)) == 2
    assert config("experiment=best_mine").runner.max_epochs == 3
    # How it is run may change, and so may what is searched.
    free = ["launcher.slots=2", "logger.interval=3", "hydra/sweeper/sampler=random", "hydra/sweeper/pruner=median"]
    more = search(*SPACE, "hydra.sweeper.n_trials=3", "runner.max_epochs=3", "optimizer.momentum=0.8,0.9", *free)
    assert more.status == 0, more.err
    space = [SPACE[0], "optimizer.lr=0.7", "optimizer.momentum=0.8,0.9"]
    fixed = search(*space, "hydra.sweeper.n_trials=5", "runner.max_epochs=3")
    assert fixed.status == 0, fixed.err
    best = max(trials(fixed.cwd), key=lambda trial: trial["value"])
    if "optimizer.lr" in best:
        assert config("experiment=best_mine").optimizer.lr == pytest.approx(best["optimizer.lr"], rel=1e-3)


def test_where_all_trials_diverged_there_is_no_best_one(run_task):
    done = run_task(lambda cfg: -math.inf, "train", *SEARCH, "hydra/launcher=basic", *SPACE, "hydra.sweeper.n_trials=2")
    assert done.status == 0, done.err
    assert "no best point and no recipe" in done.out
    assert "best: " not in done.out
    assert not (done.cwd / "local").exists()


def test_a_dry_run_writes_nothing(train, tmp_path):
    arguments = ["-m", "hydra/sweeper=optuna", "launcher.name=mine", SPACE[1], "launcher.dry_run=true"]
    done = train(*arguments, "hydra.sweeper.n_trials=7")
    assert done.status == 0, done.err
    assert "7 trials, " in done.out
    assert "trials: none; 7 left to ask for" in done.out
    assert list(tmp_path.rglob("*")) == []


def test_a_file_of_the_group_sweep_can_be_the_space(search):
    done = search("hydra.sweep.dir=outputs/sweeps/mine", "sweep=search", "optimizer.lr=0.1", "hydra.sweeper.n_trials=2")
    assert done.status == 0, done.err
    (first, _) = trials(done.cwd)
    assert "lr_schedule.warmup_ratio" in first
    assert "optimizer.lr" not in first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "hydra/sweeper=optuna: there is nothing to search"),
        (["optimizer.lr=1,2", "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: must be an integer > 0"),
        (["optimizer.lr=1,2", "hydra.sweeper.nope=0"], "hydra.sweeper.nope: there is no such key"),
        (["optimizer.lr=interval(2,1)"], "optimizer.lr=interval(2,1): "),
        (["optimizer.nope=interval(1,2)"], "optimizer.nope: there is no such key"),
        (["evaluation.monitor=val/loss,val/top1"], "evaluation.monitor: cannot be searched"),
        (["optimizer.lr=1,2", "hydra/sweeper/sampler=nope"], "hydra/sweeper/sampler=nope: there is no such option"),
        (["optimizer.lr=1,2", "hydra.sweeper.sampler.nope=1"], "hydra.sweeper.sampler.nope: there is no such key"),
    ],
)
def test_a_wrong_search_ends_in_one_line(search, arguments, message):
    done = search(*arguments)
    assert done.status == 2
    assert f"error: {message}" in done.err
    assert "Traceback" not in done.err


def test_a_grid_says_what_searches_an_interval(run_task):
    done = run_task(value_of, "train", "sweep=search", "hydra/launcher=basic")
    assert done.status == 2
    assert "is no list of values; hydra/sweeper=optuna searches it" in done.err


def test_without_optuna_the_message_says_what_to_install(search, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = search(*SPACE)
    assert done.status == 2
    assert "error: hydra/sweeper=optuna: needs the package optuna; install with: pip install" in done.err


def test_epochs_are_read_from_a_jobs_table(tmp_path):
    assert rows_of(tmp_path, "val/top1") == {}
    (tmp_path / "metrics.csv").write_text("epoch,val/top1\n1,10\n2,\n3,nan\n4,20.5\n")
    assert rows_of(tmp_path, "val/top1") == {1: 10.0, 4: 20.5}
    assert rows_of(tmp_path, "val/loss") == {}


def test_only_what_was_ended_by_the_stop_file_is_pruned(tmp_path):
    result = {"status": "stopped", "reason": "val/top1 has not improved"}
    assert outcome_of(tmp_path, {"state": "done", "result": result, "value": "3.0"}) == (3.0, False)
    (tmp_path / "stop").write_text("pruned after epoch 2\n")
    assert outcome_of(tmp_path, {"state": "done", "result": result, "value": "3.0"}) == (3.0, False)
    result["reason"] = "pruned after epoch 2"
    assert outcome_of(tmp_path, {"state": "done", "result": result, "value": "3.0"}) == (3.0, True)
    assert outcome_of(tmp_path, {"state": "failed", "reason": "x"}) == (None, False)
    assert outcome_of(tmp_path, {"state": "done", "result": {}, "value": "nan"}) == (None, False)


@pytest.mark.slow
def test_slots_get_points_as_they_come_and_a_point_that_comes_up_twice_is_run_once(train, tmp_path):
    short = [
        "runner.max_iters=2",
        "data.transforms.resize=null",
        "logger=csv",
        "checkpoint=none",
        "hooks.lr_curve=null",
    ]
    arguments = ["hydra/sweeper=optuna", "launcher.name=mine", "launcher.slots=2", "seed=0,-1,1", *short]
    done = train("-m", *arguments, "hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=8")
    assert done.status == 2, done.err  # a seed cannot be negative
    assert done.out.count("begins: ") == 3
    assert "goes on: " not in done.out
    for trial in trials(tmp_path):
        result = json.loads((tmp_path / f"outputs/sweeps/mine/seed={trial['seed']}/result.json").read_text())
        failed = trial["seed"] == "-1"
        assert trial["state"] == ("FAIL" if failed else "COMPLETE")
        assert trial["value"] == (None if failed else result["best"]["val/top1"])
    assert len(trials(tmp_path)) == 8


@pytest.mark.slow
def test_a_search_killed_eight_times_loses_and_repeats_no_trial(tmp_path):
    command = [
        *(sys.executable, str(ROOT / "src" / "train.py"), "-m", "hydra/sweeper=optuna", "launcher.name=mine"),
        *("hydra.sweeper.n_trials=6", "hydra.sweeper.pruner.n_startup_trials=2", "launcher.slots=2", *SPACE[1:]),
        *("runner.max_epochs=4", "data.batch_size=128", "runner.device=cpu", "hooks.lr_curve=null", "logger=csv"),
    ]
    folder = tmp_path / "outputs" / "sweeps" / "mine"
    output = (tmp_path / "out").open("w")
    for kill in range(8):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=output, stderr=output)
        # Each is killed a little later in its life than the one before: before, while and after jobs run.
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until:
            rows = sum(len(file.read_text().splitlines()) - 1 for file in folder.glob("*/metrics.csv"))
            if rows >= 2 * kill:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    asked = trials(tmp_path)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    found = trials(tmp_path)
    assert [trial["state"] in ("COMPLETE", "PRUNED") for trial in found] == [True] * 6
    assert [trial["optimizer.lr"] for trial in found][: len(asked)] == [trial["optimizer.lr"] for trial in asked]
    assert len({trial["optimizer.lr"] for trial in found}) == 6
    states = [json.loads(file.read_text()) for file in folder.glob("*/state.json")]
    assert [state["state"] for state in states] == ["done"] * 6
    assert sum(state["attempts"] for state in states) > 6  # some were killed, and went on
