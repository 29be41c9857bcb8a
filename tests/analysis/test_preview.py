"""The preview's values and files."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hookline.analysis.preview import compute, write_csv, write_tensorboard
from hookline.charts.text import draw_text
from hookline.config.errors import ConfigError
from hookline.experiment import build_schedule
from hookline.schedules import Clock, Fixed

CASES = json.loads((Path(__file__).parents[1] / "golden" / "curves.json").read_text())
COSINE = {"_target_": "hookline.schedules.Cosine", "min_lr": 0.0, "by_epoch": False, "warmup": "linear",
          "warmup_iters": "5ep", "warmup_ratio": 0.1}  # fmt: skip
DOWN = {"_target_": "hookline.schedules.Linear", "min_momentum": 0.5}


def test_values_are_those_of_the_schedule():
    clock = Clock.for_run(7, max_iters=45)
    lr, momentum = build_schedule(COSINE, "lr", clock), build_schedule(DOWN, "momentum", clock)
    bases = {"lr": {"stem": 0.1, "body": 0.02, "head": 0.1}, "momentum": {"stem": 0.9, "body": 0.9, "head": 0.8}}
    preview = compute({"lr": lr, "momentum": momentum}, clock, bases)
    assert list(preview.columns) == [f"{field}_{group}" for field in bases for group in ("stem", "body", "head")]
    assert preview.warmup_end == 35
    for i in range(45):
        assert preview.lr["body"][i] == lr(0.02, clock.at(i))
        assert preview.series["momentum"]["head"][i] == momentum(0.8, clock.at(i))
    assert all(len(series) == 45 for series in preview.columns.values())
    assert preview.lr["stem"] is preview.lr["head"]


def test_groups_with_curves_of_their_own():
    clock = Clock.for_run(5, max_epochs=2)
    schedules = {"lr": build_schedule({"_target_": "hookline.schedules.OneCycle", "max_lr": [0.5, 1.0]}, "lr", clock)}
    preview = compute(schedules, clock, {"lr": {"body": 0.1, "head": 0.1}})
    assert preview.lr["head"] == pytest.approx([2 * v for v in preview.lr["body"]])
    with pytest.raises(ConfigError, match=r"lr_schedule\.max_lr=.*one for each of the 3 parameter groups"):
        compute(schedules, clock, {"lr": dict.fromkeys("abc", 0.1)})


def test_a_field_without_a_schedule_keeps_its_base_value():
    clock = Clock.for_run(5, max_epochs=2)
    schedules = {"lr": build_schedule(COSINE | {"warmup": None}, "lr", clock)}
    assert list(compute(schedules, clock, {"lr": {"base": 0.1}}).series) == ["lr"]
    preview = compute(schedules, clock, {"lr": {"base": 0.1}, "momentum": {"base": 0.9}})
    assert preview.series["momentum"] == {"base": [0.9] * 10}


def test_a_group_without_weight_decay_stays_without():
    clock = Clock.for_run(2, max_epochs=2)
    rising = {"_target_": "hookline.schedules.OneCycleInverse", "base_weight_decay": 0.1, "max_weight_decay": 0.2}
    schedules = {"lr": Fixed(), "weight_decay": build_schedule(rising, "weight_decay", clock)}
    bases = {"lr": {"base": 0.1, "norm": 0.1}, "weight_decay": {"base": 0.05, "norm": 0.0}}
    decay = compute(schedules, clock, bases).series["weight_decay"]
    assert decay["norm"] == [0.0] * 4
    assert all(value >= 0.1 for value in decay["base"])


def test_csv_reads_back_bit_for_bit(tmp_path):
    clock = Clock.for_run(4, max_iters=10)
    schedules = {
        "lr": build_schedule(COSINE | {"warmup_iters": 3}, "lr", clock),
        "momentum": build_schedule(DOWN, "momentum", clock),
    }
    preview = compute(schedules, clock, {"lr": {"body": 0.1, "head": 1 / 3}, "momentum": {"body": 0.9, "head": 0.9}})
    write_csv(tmp_path / "new" / "lr_curve.csv", preview)
    with (tmp_path / "new" / "lr_curve.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["iter", "epoch", "lr_body", "lr_head", "momentum_body", "momentum_head"]
    assert [row[:2] for row in rows] == [[str(i), str(i // 4)] for i in range(10)]
    for column, series in enumerate(preview.columns.values(), start=2):
        assert [float(row[column]) for row in rows] == series


def test_tensorboard_run(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    clock = Clock.for_run(100, max_epochs=50)
    preview = compute({"lr": build_schedule(COSINE, "lr", clock)}, clock, {"lr": {"body": 0.1, "head": 0.01}})
    for _ in range(2):  # the second preview takes the first one's place
        write_tensorboard(tmp_path, preview)
    assert len(list(tmp_path.iterdir())) == 1
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert events.Tags()["scalars"] == ["learning_rate/body", "learning_rate/head"]
    points = events.Scalars("learning_rate/body")
    assert [points[0].step, points[-1].step] == [0, 4999]
    assert len(points) <= 4000
    assert all(p.value == pytest.approx(preview.lr["body"][p.step], rel=1e-6) for p in points)
    assert max(p.value for p in points) == pytest.approx(max(preview.lr["body"]), rel=1e-6)


def test_300_epochs_of_1251_iterations_take_under_a_second():
    clock = Clock.for_run(1251, max_epochs=300)
    schedules = {"lr": build_schedule(COSINE, "lr", clock)}
    times = []
    for _ in range(3):
        start = time.process_time()
        preview = compute(schedules, clock, {"lr": {"body": 0.1, "head": 0.1}})
        times.append(time.process_time() - start)
    assert len(preview.lr["body"]) == 375_300
    assert min(times) < 1


def test_text_drawing():
    lines = draw_text([[1.0 - i / 100 for i in range(100)]], 10, width=20, height=4).splitlines()
    assert len(lines) == 4 + 4
    assert lines[1].startswith(" 1 ┤")
    # A straight line falls through all four rows, further right in each.
    starts = [len(line) - len(line[4:].lstrip(" ⠀")) for line in lines[1:5]]
    assert starts == sorted(starts)
    assert len(set(starts)) == 4
    assert lines[-1].split() == ["iter", "0", "100"]
    assert lines[-2].split() == ["epoch", "0", "10"]


def test_text_drawing_of_few_and_constant_values():
    assert "lr" in draw_text([[0.1]], 1)
    assert "0" in draw_text([[0.0, 0.0, 0.0]], 3)


def test_imports_no_torch():
    modules = "hookline.analysis.preview, hookline.charts.lr_curve, hookline.charts.text"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    src = Path(__file__).parents[2] / "src"
    assert subprocess.run([sys.executable, "-c", code], cwd=src, check=False).returncode == 0


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_reference_curves_through_the_preview(case, option):
    clock = Clock.for_run(case["iters_per_epoch"], max_epochs=case["max_epochs"])
    schedules = {}
    for field in ("lr", "momentum"):
        parameters = dict(case.get(f"{field}_schedule") or {})
        if parameters:
            node = option(f"{field}_schedule", parameters.pop("name"), **parameters)
            schedules[field] = build_schedule(node, field, clock)
    lr = {str(group): value for group, value in enumerate(case["base_lr"])}
    momentum = case["betas"][0] if "betas" in case else case.get("momentum", 0.9)
    preview = compute(schedules, clock, {"lr": lr, "momentum": dict.fromkeys(lr, momentum)})
    for field in ("lr", "momentum"):
        rows = [list(row) for row in zip(*preview.series[field].values(), strict=True)]
        assert rows == [pytest.approx(row, rel=1e-12, abs=0) for row in case[f"expected_{field}"]]


def test_text_says_which_curve_is_which():
    falling, rising = [1.0 - i / 100 for i in range(100)], [i / 100 for i in range(100)]
    lines = draw_text([falling, rising], 10, names=["down", "up"], width=20, height=4).splitlines()
    assert [line.split() for line in lines[-2:]] == [["a", "down"], ["b", "up"]]
    # Where they are farthest apart each has its own letter: at an end, one above and one below.
    top, bottom = lines[1].partition("┤")[2], lines[4].partition("┤")[2]
    assert ("a" in top and "b" in bottom) or ("b" in top and "a" in bottom)


def test_text_of_one_curve_needs_no_letter():
    assert draw_text([[0.1, 0.2]], 1, names=["only"]) == draw_text([[0.1, 0.2]], 1)
