"""The curves that were recorded from the systems that defined them, value by value, through the config files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hookline.experiment import build_schedule
from hookline.schedules import Clock

CASES = json.loads((Path(__file__).parents[1] / "golden" / "curves.json").read_text())


def values(option, case: dict, quantity: str, bases: list[float]) -> list[list[float]]:
    key = f"{quantity}_schedule"
    parameters = dict(case[key])
    node = option(key, parameters.pop("name"), **parameters)
    clock = Clock.for_run(case["iters_per_epoch"], max_epochs=case["max_epochs"])
    schedule = build_schedule(node, quantity, clock)
    groups = [schedule.for_group(index, len(bases)) for index in range(len(bases))]
    return [[f(b, clock.at(i)) for f, b in zip(groups, bases, strict=True)] for i in range(clock.max_iters)]


def test_there_are_all_cases():
    assert len(CASES) == 24
    assert sum("momentum_schedule" in case for case in CASES) == 5


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_lr(case, option):
    got = values(option, case, "lr", case["base_lr"])
    assert got == [pytest.approx(row, rel=1e-12, abs=0) for row in case["expected_lr"]]


@pytest.mark.parametrize("case", [c for c in CASES if "momentum_schedule" in c], ids=lambda c: c["name"])
def test_momentum(case, option):
    got = values(option, case, "momentum", [case.get("momentum", 0.9)] * len(case["base_lr"]))
    assert got == [pytest.approx(row, rel=1e-12, abs=0) for row in case["expected_momentum"]]
