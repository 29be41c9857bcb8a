"""The curves that were recorded from the systems that defined them, value by value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hookline.schedules import Clock
from hookline.schedules.build import build_schedule

GOLDEN = Path(__file__).parents[1] / "golden" / "curves.json"
CLASSES = {"fixed": "Fixed", "step": "Step", "cosine": "Cosine"}
CASES = [c for c in json.loads(GOLDEN.read_text()) if c["lr_schedule"]["name"] in CLASSES]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_lr(case):
    parameters = dict(case["lr_schedule"])
    node = {"_target_": f"hookline.schedules.{CLASSES[parameters.pop('name')]}", **parameters}
    clock = Clock.for_run(case["iters_per_epoch"], max_epochs=case["max_epochs"])
    schedule = build_schedule(node, "lr_schedule", clock)
    got = [[schedule(base, clock.at(i)) for base in case["base_lr"]] for i in range(clock.max_iters)]
    assert got == [pytest.approx(row, rel=1e-12, abs=0) for row in case["expected_lr"]]
