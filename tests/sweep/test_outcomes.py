"""What makes a point: which jobs are seeds of one another, and which are not."""

from __future__ import annotations

import shutil

import pytest
from tests.sweep.sweeps import write_job

from hookline.sweep.jobs import read_sweep
from hookline.sweep.outcomes import outcomes_of
from hookline.sweep.statistics import points_of

LR, DECAY, EPOCHS = "optimizer.lr", "optimizer.weight_decay", "runner.max_epochs"


def outcomes(*folders):
    return outcomes_of([read_sweep(folder) for folder in folders], "val/top1")


@pytest.mark.parametrize("told", [LR, None], ids=["a key is swept", "nothing else is"])
def test_jobs_with_equal_overrides_and_another_config_are_other_points(tmp_path, told):
    """A default was edited between two launches, and the second one has a seed more."""
    for seed in range(5):
        late = seed > 1
        overrides = {told: 0.1} if told else {}
        unsaid = {DECAY: 0.5 if late else 0.0, "logger.interval": seed, "data.workers": seed}
        write_job(tmp_path / str(seed), overrides, [90.0 + seed % 2 - 9 * late], seed=seed % 2, unsaid=unsaid)
    found = outcomes(tmp_path)
    assert [set(outcome.values) for outcome in found] == [{DECAY}] * 4  # the fifth is equal to the third
    best, other = points_of(found, "max")
    assert [(p.values[DECAY], p.score.count, p.score.mean) for p in (best, other)] == [
        ("0.0", 2, 90.5),
        ("0.5", 2, 81.5),
    ]
    assert (other.behind.count, other.behind.mean) == (2, -9.0)


def test_what_changed_together_with_a_swept_key_is_shown(tmp_path):
    for number, (lr, decay) in enumerate([(0.1, 0.0), (0.2, 0.5)]):
        write_job(tmp_path / str(number), {LR: lr}, [1.0], unsaid={DECAY: decay})
    assert outcomes(tmp_path)[1].values == {LR: "0.2", DECAY: "0.5"}


def test_a_key_that_only_some_configs_have_is_shown(tmp_path):
    write_job(tmp_path / "0", {LR: 1}, [1.0], seed=0)
    write_job(tmp_path / "1", {LR: 1}, [1.0], seed=1, unsaid={EPOCHS: 3})
    assert [outcome.values for outcome in outcomes(tmp_path)] == [{EPOCHS: "absent"}, {EPOCHS: "3"}]


def test_what_follows_from_the_overrides_makes_no_column(tmp_path):
    """Values that are interpolated from a seed or a swept key, and what an option of a group brings with it."""
    for number, (option, lr) in enumerate([("sgd", 0.1), ("sgd", 0.2), ("adamw", 0.1), ("adamw", 0.2)]):
        unsaid = {
            "optimizer._target_": f"torch.{option}",
            "data.split_seed": number % 3,
            "loss.note": f"lr {lr}",
            "loss.name": [{"run": f"seed {number % 3}"}],
        }
        write_job(tmp_path / str(number), {LR: lr}, [1.0], seed=number % 3, unsaid=unsaid)
        given = [f"optimizer={option}", f"{LR}={lr}", f"seed={number % 3}"]
        (tmp_path / str(number) / ".hydra" / "overrides.yaml").write_text(str(given))
    assert [list(outcome.values) for outcome in outcomes(tmp_path)] == [["optimizer", LR]] * 4


def test_a_group_that_a_job_did_not_choose_has_its_options_name(tmp_path):
    write_job(tmp_path / "0", {"optimizer.lr": 1}, [1.0], choices={"optimizer": "sgd"})
    write_job(tmp_path / "1", {"optimizer.lr": 1, "optimizer.betas": [0.9]}, [2.0], choices={"optimizer": "adamw"})
    (tmp_path / "1" / ".hydra" / "overrides.yaml").write_text("[optimizer=adamw, seed=0]")
    assert [outcome.values["optimizer"] for outcome in outcomes(tmp_path)] == ["sgd", "adamw"]


def test_equal_jobs_count_once(tmp_path):
    for seed in range(2):
        write_job(tmp_path / "s" / str(seed), {LR: 0.1}, [90.0 + seed], seed=seed)
        write_job(tmp_path / "s" / f"failed_{seed}", {LR: 0.1}, seed=seed, status="failed")
    write_job(tmp_path / "s" / "other", {LR: 0.2}, [80.0])
    shutil.copytree(tmp_path / "s", tmp_path / "copy")
    alone = outcomes(tmp_path / "s")
    assert sorted((o.job.name, o.score) for o in alone) == [("0", 90.0), ("1", 91.0), ("other", 80.0)]
    for folders in (["s", "s"], ["s", "copy"]):
        found = outcomes(*(tmp_path / folder for folder in folders))
        assert [(o.job.directory, o.values, o.score) for o in found] == [
            (o.job.directory, o.values, o.score) for o in alone
        ]


def test_a_run_that_its_stop_file_has_ended_is_no_full_one(tmp_path):
    reason = "pruned after epoch 1"
    write_job(tmp_path / "0", {LR: 0.1}, [99.0], status="stopped", reason=reason)
    write_job(tmp_path / "1", {LR: 0.2}, [80.0], status="stopped", reason="val/top1 has not improved")
    (tmp_path / "0" / "stop").write_text(f"{reason}\n")
    assert [(outcome.state, outcome.score) for outcome in outcomes(tmp_path)] == [("pruned", None), ("done", 80.0)]
