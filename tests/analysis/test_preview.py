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
from hookline.schedules import Clock
from hookline.schedules.build import build_schedule

CASES = json.loads((Path(__file__).parents[1] / "golden" / "curves.json").read_text())
COSINE = {"_target_": "hookline.schedules.Cosine", "min_lr": 0.0, "by_epoch": False, "warmup": "linear",
          "warmup_iters": "5ep", "warmup_ratio": 0.1}  # fmt: skip
DOWN = {"_target_": "hookline.schedules.Linear", "min_momentum": 0.5}


def test_values_are_those_of_the_schedule():
    clock = Clock.for_run(7, max_iters=45)
    preview = compute(COSINE, clock, [0.1, 0.02, 0.1], momentum_schedule=DOWN, base_momentum=[0.9, 0.9, 0.8])
    assert list(preview.columns) == ["lr_0", "lr_1", "lr_2", "momentum_0", "momentum_1", "momentum_2"]
    assert preview.warmup_end == 35
    lr = build_schedule(COSINE, "lr_schedule", clock)
    momentum = build_schedule(DOWN, "momentum_schedule", clock, "momentum")
    for i in range(45):
        assert preview.lr["lr_1"][i] == lr(0.02, clock.at(i))
        assert preview.momentum["momentum_2"][i] == momentum(0.8, clock.at(i))
    assert all(len(series) == 45 for series in preview.columns.values())
    assert preview.lr["lr_0"] is preview.lr["lr_2"]


def test_groups_with_curves_of_their_own():
    node = {"_target_": "hookline.schedules.OneCycle", "max_lr": [0.5, 1.0]}
    preview = compute(node, Clock.for_run(5, max_epochs=2), [0.1, 0.1])
    assert preview.lr["lr_1"] == pytest.approx([2 * v for v in preview.lr["lr_0"]])
    with pytest.raises(ConfigError, match=r"lr_schedule\.max_lr=.*one for each of the 3 parameter groups"):
        compute(node, Clock.for_run(5, max_epochs=2), [0.1] * 3)


def test_no_momentum_schedule():
    clock = Clock.for_run(5, max_epochs=2)
    for none in (None, {"_target_": None}):
        assert compute(COSINE | {"warmup": None}, clock, [0.1], momentum_schedule=none).momentum == {}


def test_csv_reads_back_bit_for_bit(tmp_path):
    clock = Clock.for_run(4, max_iters=10)
    preview = compute(
        COSINE | {"warmup_iters": 3}, clock, [0.1, 1 / 3], momentum_schedule=DOWN, base_momentum=[0.9] * 2
    )
    write_csv(tmp_path / "new" / "lr_curve.csv", preview)
    with (tmp_path / "new" / "lr_curve.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["iter", "epoch", "lr_0", "lr_1", "momentum_0", "momentum_1"]
    assert [row[:2] for row in rows] == [[str(i), str(i // 4)] for i in range(10)]
    for column, series in enumerate(preview.columns.values(), start=2):
        assert [float(row[column]) for row in rows] == series


def test_tensorboard_run(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    preview = compute(COSINE, Clock.for_run(100, max_epochs=50), [0.1, 0.01])
    for _ in range(2):  # the second preview takes the first one's place
        write_tensorboard(tmp_path, preview)
    assert len(list(tmp_path.iterdir())) == 1
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert events.Tags()["scalars"] == ["learning_rate/0", "learning_rate/1"]
    points = events.Scalars("learning_rate/0")
    assert [points[0].step, points[-1].step] == [0, 4999]
    assert len(points) <= 4000
    assert all(p.value == pytest.approx(preview.lr["lr_0"][p.step], rel=1e-6) for p in points)
    assert max(p.value for p in points) == pytest.approx(max(preview.lr["lr_0"]), rel=1e-6)


def test_300_epochs_of_1251_iterations_take_under_a_second():
    clock = Clock.for_run(1251, max_epochs=300)
    times = []
    for _ in range(3):
        start = time.process_time()
        preview = compute(COSINE, clock, [0.1, 0.1])
        times.append(time.process_time() - start)
    assert len(preview.lr["lr_0"]) == 375_300
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
    def node(field):
        parameters = dict(case.get(f"{field}_schedule") or {})
        return option(f"{field}_schedule", parameters.pop("name"), **parameters) if parameters else None

    momentum = case["betas"][0] if "betas" in case else case.get("momentum", 0.9)
    preview = compute(
        node("lr"),
        Clock.for_run(case["iters_per_epoch"], max_epochs=case["max_epochs"]),
        case["base_lr"],
        momentum_schedule=node("momentum"),
        base_momentum=[momentum] * len(case["base_lr"]),
    )
    for series, expected in ((preview.lr, case["expected_lr"]), (preview.momentum, case["expected_momentum"])):
        rows = [list(row) for row in zip(*series.values(), strict=True)]
        assert rows == [pytest.approx(row, rel=1e-12, abs=0) for row in expected]
