"""The learning-rate range test."""

from __future__ import annotations

import csv
import math
from itertools import pairwise

import pytest

from hookline.analysis.range_test import RangeTest, find_lr, suggest
from hookline.schedules import Clock


@pytest.fixture
def find(run_task):
    return lambda *arguments: run_task(find_lr, "find_lr", *arguments)


def rows(finished) -> list[dict]:
    (path,) = finished.cwd.glob("outputs/find_lr/**/find_lr.csv")
    return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(path.open())]


def test_it_suggests_a_rate_that_trains(find, train):
    finished = find("find.iterations=100")
    assert finished.status == 0, finished.err
    seen = rows(finished)
    assert seen[0]["lr"] == pytest.approx(1e-5)
    ratios = [b["lr"] / a["lr"] for a, b in pairwise(seen)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    text = next(line for line in finished.out.splitlines() if "suggested: optimizer.lr=" in line)
    lr = float(text.rpartition("=")[2])
    assert 1e-3 < lr < 2
    assert min(row["smoothed_loss"] for row in seen) < 0.5 * seen[0]["loss"]
    assert train(f"optimizer.lr={lr}", "runner.max_epochs=6").result["best"]["val/top1"] > 60


def test_it_stops_when_the_loss_breaks_and_leaves_only_its_files(find):
    finished = find("find.iterations=100", "find.end_lr=1e5", "data.batch_size=256")
    assert len(rows(finished)) < 100
    assert "the loss broke at lr" in finished.out
    (folder,) = (path.parent for path in finished.cwd.glob("outputs/find_lr/**/find_lr.png"))
    assert {p.name for p in folder.iterdir()} == {".hydra", "find_lr.csv", "find_lr.png", "find_lr.log"}


def test_linear(find):
    finished = find("find.iterations=12", "find.shape=linear", "find.start_lr=0.01", "find.end_lr=0.12")
    assert [row["lr"] for row in rows(finished)] == pytest.approx([0.01 * (i + 1) for i in range(12)])


@pytest.mark.parametrize("shape", ["exp", "linear"])
def test_groups_keep_their_ratios(shape):
    curve = RangeTest(start=1e-4, end=1.0, shape=shape, largest=0.2)
    clock = Clock.for_run(10, max_epochs=2)
    assert (curve(0.2, clock.at(0)), curve(0.2, clock.at(19))) == pytest.approx((1e-4, 1.0))
    assert all(curve(0.05, clock.at(i)) == pytest.approx(curve(0.2, clock.at(i)) / 4) for i in range(20))


def test_suggestion_is_where_the_loss_falls_fastest():
    lr = [10 ** (-5 + i / 10) for i in range(60)]
    loss = [2 - 1 / (1 + math.exp(-3 * (math.log10(x) + 2))) + 50 * max(0, x - 0.5) for x in lr]
    assert suggest(lr, loss) == pytest.approx(1e-2, rel=0.3)
    assert suggest(lr, sorted(loss)) is None
    assert suggest([], []) is None


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
