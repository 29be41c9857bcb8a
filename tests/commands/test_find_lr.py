"""scripts/find_lr.py as a user runs it."""

from __future__ import annotations

import csv
from itertools import pairwise

import pytest
from tests.conftest import thinned

from hookline.analysis.range_test import suggest
from hookline.commands.find_lr import find_lr


@pytest.fixture
def find(run_task):
    return lambda *arguments: run_task(find_lr, "find_lr", *arguments)


def rows(finished) -> list[dict]:
    (path,) = finished.cwd.glob("outputs/find_lr/**/find_lr.csv")
    return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(path.open())]


def suggested(finished) -> float:
    text = next(line for line in finished.out.splitlines() if "suggested: optimizer.lr=" in line)
    return float(text.partition("optimizer.lr=")[2].split()[0])


def test_it_suggests_a_rate_that_trains(find, train):
    finished = find("find.iterations=100")
    assert finished.status == 0, finished.err
    seen = rows(finished)
    assert seen[0]["lr"] == pytest.approx(1e-5)
    ratios = [b["lr"] / a["lr"] for a, b in pairwise(seen)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    lr = suggested(finished)
    assert 1e-3 < lr < 2
    assert min(row["smoothed_loss"] for row in seen) < 0.5 * seen[0]["loss"]
    assert train(f"optimizer.lr={lr}", "runner.max_epochs=6").result["best"]["val/top1"] > 60


@pytest.mark.slow
def test_it_stops_when_the_loss_breaks_and_leaves_only_its_files(find):
    finished = find("find.iterations=100", "find.end_lr=1e5", "data.batch_size=256")
    assert len(rows(finished)) < 100
    assert "the loss broke at lr" in finished.out
    (folder,) = (path.parent for path in finished.cwd.glob("outputs/find_lr/**/find_lr.png"))
    assert {p.name for p in folder.iterdir()} == {".hydra", "find_lr.csv", "find_lr.png", "find_lr.log"}


def test_a_loss_that_does_not_fall_is_said(find):
    finished = find("find.iterations=40", "find.end_lr=2e-5", "find.smoothing=0.5")
    assert finished.status == 0, finished.err
    assert "no suggestion" in finished.out or "do not trust the suggestion" in finished.out


def test_linear(find):
    finished = find("find.iterations=12", "find.shape=linear", "find.start_lr=0.01", "find.end_lr=0.12")
    assert [row["lr"] for row in rows(finished)] == pytest.approx([0.01 * (i + 1) for i in range(12)])


@pytest.mark.parametrize(
    ("arguments", "factor"),
    thinned(
        [
            ([], 1),
            (["auto_scale_lr.base_batch_size=16"], 4),
            (["auto_scale_lr.base_batch_size=16", "auto_scale_lr.rule=sqrt"], 2),
            (["param_groups=paramwise", "param_groups.head_lr_mult=10"], 10),
            (["param_groups=layer_decay", "param_groups.layer_decay=0.5"], 1),
            (["auto_scale_lr.base_batch_size=32", "param_groups=paramwise", "param_groups.head_lr_mult=5"], 10),
        ],
        5,
    ),
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_the_suggestion_is_for_the_optimizers_own_learning_rate(arguments, factor, find, runner):
    finished = find("data.transforms.resize=null", "find.iterations=60", "find.start_lr=1e-4", *arguments)
    assert finished.status == 0, finished.err
    seen = rows(finished)
    assert seen[0]["lr"] == pytest.approx(1e-4)
    best = suggest([row["lr"] for row in seen], [row["smoothed_loss"] for row in seen])
    assert best is not None
    assert suggested(finished) == pytest.approx(best / factor, rel=0.06)  # two digits are printed
    # A training with the suggestion has the learning rate at which the test saw the loss fall fastest.
    groups = runner(*arguments, f"optimizer.lr={suggested(finished)}").optimizer.param_groups
    assert max(group["lr"] for group in groups) == pytest.approx(best, rel=0.06)


def test_it_builds_no_more_than_it_needs(find):
    finished = find(
        *("data._target_=tests.commands.sources.TrainingOnly", "find.iterations=10", "data.batch_size=12"),
        *(
            "lr_schedule.min_lr=-1",
            "momentum_schedule=step",
            "momentum_schedule.gamma=0",
            "runner.max_epochs=0",
            "logger.interval=0",
        ),
        *("evaluation.interval=0", "evaluation.mode=up", "hooks.text.interval=0", "checkpoint.save_last=maybe"),
    )
    assert finished.status == 0, finished.err
    assert len(rows(finished)) == 10


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("find.start_lr=0", "find.start_lr=0: must be a number > 0"),
        ("find.end_lr=1e-9", "find.end_lr=1e-09: must be a number > 1e-05"),
        ("find.iterations=3", "find.iterations=3: must be an integer >= 10"),
        ("find.shape=cubic", "find.shape=cubic: must be one of exp, linear"),
        ("find.start_lr=1e6 find.end_lr=1e9", "start lower"),
    ],
)
def test_mistakes(find, argument, message):
    finished = find(*argument.split())
    assert finished.status == 2
    assert message in finished.err
