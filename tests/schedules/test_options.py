"""Every option of the three schedule groups, as it stands in its file."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from tests.conftest import thinned

from hookline.experiment import build_schedule
from hookline.schedules import Clock

ROOT = Path(__file__).parents[2]
FILES = sorted(ROOT.glob("conf/*_schedule/*.yaml"))
RUNS = [Clock.for_run(1, max_epochs=1), Clock.for_run(5, max_iters=7), Clock.for_run(20, max_epochs=11)]


def name(value: object) -> str:
    return f"{value.parent.name}={value.stem}" if isinstance(value, Path) else str(value)


def test_all_groups_are_seen():
    assert {file.parent.name for file in FILES} == {"lr_schedule", "momentum_schedule", "weight_decay_schedule"}


@pytest.mark.parametrize("file", [f for f in FILES if f.stem != "none"], ids=name)
@pytest.mark.parametrize("warmup", [{}, {"warmup": "exp", "warmup_iters": "20%", "warmup_join": "shift"}], ids=str)
def test_builds_for_runs_of_any_length(option, file, warmup):
    group = file.parent.name
    for run in RUNS:
        schedule = build_schedule(option(group, file.stem, **warmup), group.removesuffix("_schedule"), run)
        for curve in (schedule.for_group(index, 2) for index in range(2)):
            assert all(math.isfinite(curve(0.5, run.at(i))) for i in range(run.max_iters))


@pytest.mark.parametrize("file", [f for f in FILES if f.stem != "none"], ids=name)
def test_every_key_has_a_comment(file):
    lines = [line for line in file.read_text().splitlines() if re.match(r"\w+:", line)]
    assert [line for line in lines if "  #" not in line and not line.startswith(("defaults:", "_target_:"))] == []


def test_the_page_shows_every_schedule():
    page = (ROOT / "docs" / "schedules.md").read_text()
    for file in FILES:
        if file.parent.name == "lr_schedule":
            assert f"lr_schedule={file.stem}" in page
    pictures = re.findall(r"\((pictures/\S+?)\)", page)
    assert len(pictures) == len(set(pictures))
    for picture in pictures:
        assert 0 < (ROOT / "docs" / picture).stat().st_size < 100_000
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    shown = {Path(picture).name for picture in re.findall(r"\((pictures/\S+?)\)", pages)}
    assert {p.name for p in (ROOT / "docs" / "pictures").iterdir()} == shown


OPTIMIZERS = [file for file in sorted(ROOT.glob("conf/optimizer/*.yaml")) if file.stem != "custom"]  # which names none


@pytest.mark.parametrize("optimizer", thinned(OPTIMIZERS), ids=name)
def test_every_lr_schedule_with_every_optimizer(option, optimizer):
    torch = pytest.importorskip("torch")
    from hookline.config.instantiate import build

    run = RUNS[1]
    for file in FILES:
        if file.parent.name != "lr_schedule":
            continue
        weights = [torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2)]
        groups = [{"params": [weights[0]]}, {"params": [weights[1]], "lr": 1e-4}]
        built = build(option("optimizer", optimizer.stem), "optimizer", params=groups)
        bases = [group["lr"] for group in built.param_groups]
        schedule = build_schedule(option("lr_schedule", file.stem), "lr", run)
        curves = [schedule.for_group(index, 2) for index in range(2)]
        for i in range(run.max_iters):
            for group, base, curve in zip(built.param_groups, bases, curves, strict=True):
                group["lr"] = curve(base, run.at(i))
            sum((w**2).sum() for w in weights).backward()
            built.step()
            # Each group keeps to its own base: the curves are alike but for the scale.
            a, b = (group["lr"] / base for group, base in zip(built.param_groups, bases, strict=True))
            assert a == pytest.approx(b, rel=1e-9, abs=1e-12)
        assert all(torch.isfinite(w).all() for w in weights)
