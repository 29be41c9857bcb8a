"""A study that is killed goes on as if nothing had happened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("optuna")

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution

from hookline.config.errors import ConfigError
from hookline.sweep.study import JOURNAL, Study

LR = {"lr": FloatDistribution(0, 1)}


def made(place: Path, space=LR, mode: str = "max", trials: int = 5, pruner=None) -> Study:
    sampler = optuna.samplers.RandomSampler
    return Study(place, space, mode, trials, lambda number: sampler(seed=number), pruner or optuna.pruners.NopPruner())


def searched(place: Path, *kills: int) -> dict:
    place.mkdir()
    script = Path(__file__).with_name("searching.py")
    command = [sys.executable, str(script), str(place), *map(str, kills)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_a_study_killed_eight_times_with_torn_lines_is_the_one_that_never_was(tmp_path):
    undisturbed = searched(tmp_path / "a")
    killed = searched(tmp_path / "b", 1, 2, 3, 4, 5, 6, 7, 8)
    assert undisturbed["killed"] == 0
    assert killed["killed"] == 8
    assert killed["trials"] == undisturbed["trials"]
    assert [trial[:2] for trial in killed["trials"]] == [[number, "COMPLETE"] for number in range(8)]


def test_a_trial_that_was_not_told_keeps_its_number_its_point_and_its_job(tmp_path):
    with made(tmp_path) as study:
        first, second = study.ask(), study.ask()
        point = study.overrides(second)
        study.overrides(first)
        study.bind(second, tmp_path / "its_job")
        study.tell(first, 0.5)
    with made(tmp_path) as study:
        (trial,) = study.running()
        assert trial.number == 1
        assert study.overrides(trial) == point
        assert study.job_of(trial) == tmp_path / "its_job"


def test_trials_are_as_many_as_asked_for_and_more_with_a_larger_number(tmp_path):
    with made(tmp_path, trials=2) as study:
        study.tell(study.ask(), None)
        study.tell(study.ask(), 1.0)
        assert study.ask() is None
        assert study.best.number == 1
    with made(tmp_path, trials=3) as study:
        assert study.ask().number == 2
        assert study.ask() is None


def test_a_study_is_open_once(tmp_path):
    with made(tmp_path), pytest.raises(ConfigError, match="another process runs this search"):
        made(tmp_path)
    with made(tmp_path) as study:
        assert study.best is None


def test_another_direction_or_other_choices_are_another_search(tmp_path):
    with made(tmp_path, {"warmup": CategoricalDistribution(["a", "b"])}) as study:
        study.overrides(study.ask())
    with pytest.raises(ConfigError, match=r"direction; .*launcher\.name"):
        made(tmp_path, mode="min")
    with pytest.raises(ConfigError, match="warmup: its values are others"):
        made(tmp_path, {"warmup": CategoricalDistribution(["a", "c"])})
    with made(tmp_path, {"warmup": CategoricalDistribution(["a", "b"])}) as study:  # it was given back
        assert len(study.running()) == 1


def test_a_journal_damaged_in_its_midst_is_told(tmp_path):
    with made(tmp_path) as study:
        study.ask()
    (tmp_path / JOURNAL).write_bytes(b"{nonsense\n" + (tmp_path / JOURNAL).read_bytes())
    with pytest.raises(ConfigError, match=rf"{JOURNAL}: cannot be read"):
        made(tmp_path)


def test_the_pruner_gives_up_what_is_below_the_median_and_nothing_twice(tmp_path):
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=2)
    with made(tmp_path, pruner=pruner) as study:
        for value in (50.0, 60.0):
            trial = study.ask()
            assert not study.report(trial, {1: value, 2: value, 3: value})
            study.tell(trial, value)
        bad = study.ask()
        assert not study.report(bad, {1: 10.0})
        assert study.report(bad, {1: 10.0, 2: 11.0})
        assert not study.report(bad, {1: 10.0, 2: 11.0})  # known already
        study.tell(bad, None, pruned=True)
        assert study.all()[2].state.name == "PRUNED"


@pytest.mark.parametrize(
    "text", ["{}", "[1]", "3", "null", "", '{"op_code":4,"worker_id":"a","study_id":0,"trial_id":"x"}']
)
def test_a_line_that_is_no_step_is_named_with_its_number(tmp_path, text):
    with made(tmp_path) as study:
        study.ask()
    lines = (tmp_path / JOURNAL).read_text().splitlines()
    (tmp_path / JOURNAL).write_text("\n".join([*lines[:2], text, *lines[2:]]) + "\n")
    with pytest.raises(ConfigError, match=rf"{JOURNAL}: .*line 3 is damaged; .*launcher\.name"):
        made(tmp_path)


def test_a_line_that_is_missing_is_told_and_not_forgotten(tmp_path):
    """Any line but the last one, of a search with two trials that are done and bound to jobs."""
    with made(tmp_path) as study:
        for number in range(2):
            trial, job = study.ask(), tmp_path / f"job_{number}"
            point = study.overrides(trial)
            job.mkdir()
            stored = {"number": number, "key": job.name, "swept": point, "overrides": point, "config": {}}
            (job / "job.json").write_text(json.dumps(stored))
            study.bind(trial, job)
            study.tell(trial, 0.5)
    lines = (tmp_path / JOURNAL).read_text().splitlines(keepends=True)
    told = []
    for gone, line in enumerate(lines):
        (tmp_path / JOURNAL).write_text("".join(lines[:gone] + lines[gone + 1 :]))
        try:
            with made(tmp_path) as study:
                # What a job has reached is told once more; nothing else may be lost.
                trials = study.all()
                assert [trial.params.keys() for trial in trials] == [{"lr"}, {"lr"}], line
                assert [study.job_of(trial).name for trial in trials] == ["job_0", "job_1"], line
        except ConfigError as error:
            told.append(str(error))
    assert len(told) >= 5
    assert all(f"{JOURNAL}: " in text and "is missing" in text for text in told)


def test_the_best_trial_has_a_finite_number(tmp_path):
    with made(tmp_path) as study:
        study.tell(study.ask(), float("-inf"))
        assert study.best is None
        study.tell(study.ask(), -3.0)
        study.tell(study.ask(), None)
        assert study.best.number == 1


def test_settings_may_not_change_and_what_is_searched_may(tmp_path):
    settings = {"runner.max_epochs": 3, "seed": 0, "wd": 0.1, "lr": 0.0}
    with made(tmp_path) as study:
        study.check_settings(lambda point: settings)
    wider = {"lr": FloatDistribution(0, 2), "wd": FloatDistribution(0, 1)}
    with made(tmp_path, wider) as study:
        study.check_settings(lambda point: settings | {"wd": 7, "lr": float(point[0].partition("=")[2])})
        message = r"runner\.max_epochs=4: was 3 .* go on with runner\.max_epochs=3, .* another launcher\.name"
        with pytest.raises(ConfigError, match=message):
            study.check_settings(lambda point: settings | {"runner.max_epochs": 4})
        with pytest.raises(ConfigError, match="extra=1: was absent"):
            study.check_settings(lambda point: settings | {"extra": 1})
