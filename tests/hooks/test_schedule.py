"""Schedules in training: the reference curves through the runner, every field, and resuming."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
import torch
from tests.hooks.test_default_hooks import scalars
from tests.toy import timeless, toy_loader, toy_runner
from torch import nn

from hookline.config.errors import ConfigError
from hookline.engine import Runner
from hookline.experiment import build_schedule
from hookline.hooks import Hook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.schedule import ScheduleHook
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.optim.group_values import momentum_of
from hookline.schedules import Clock, Fixed, Linear, OneCycle, Plateau, WarmUp

CASES = json.loads((Path(__file__).parents[1] / "golden" / "curves.json").read_text())


class Notebook(Hook):
    def __init__(self):
        self.rows = []

    def after_train_iter(self, runner):
        groups = runner.optimizer.param_groups
        readers = (lambda g: g["lr"], momentum_of, lambda g: g["weight_decay"])
        self.rows.append(tuple([read(group) for group in groups] for read in readers))


def runner_with_groups(base_lr, optimizer, iters_per_epoch, max_epochs, *hooks, weight_decay=None) -> Runner:
    """Return a runner over one-sample batches whose optimizer has a group for each base LR."""
    model = nn.Sequential(nn.Flatten(), *[nn.Linear(4, 4) for _ in base_lr])
    decays = weight_decay or [0.0] * len(base_lr)
    groups = [
        {"params": layer.parameters(), "lr": lr, "weight_decay": decay}
        for layer, lr, decay in zip(list(model)[1:], base_lr, decays, strict=True)
    ]
    loader = toy_loader(samples=iters_per_epoch, classes=4, batch_size=1)
    return toy_runner(*hooks, model=model, optimizer=optimizer(groups), loader=loader, max_epochs=max_epochs)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_reference_curves_through_the_runner(case, option):
    if case.get("optimizer") == "adamw":
        beta = case.get("betas", [0.9, 0.999])
        make = lambda groups: torch.optim.AdamW(groups, betas=tuple(beta))  # noqa: E731
    else:
        make = lambda groups: torch.optim.SGD(groups, momentum=case.get("momentum", 0.9))  # noqa: E731
    notes = Notebook()
    runner = runner_with_groups(
        case["base_lr"], make, case["iters_per_epoch"], case["max_epochs"], ScheduleHook(), notes
    )
    for field in ("lr", "momentum"):
        parameters = dict(case.get(f"{field}_schedule") or {})
        if parameters:
            node = option(f"{field}_schedule", parameters.pop("name"), **parameters)
            runner.schedules[field] = build_schedule(node, field, runner.clock)
    runner.run()
    assert [lr for lr, _, _ in notes.rows] == [pytest.approx(row, rel=1e-12, abs=0) for row in case["expected_lr"]]
    expected = [pytest.approx(row, rel=1e-12, abs=0) for row in case["expected_momentum"]]
    assert [momentum for _, momentum, _ in notes.rows] == expected


def test_momentum_of_the_adam_family_is_the_first_beta():
    notes = Notebook()
    make = lambda groups: torch.optim.AdamW(groups, betas=(0.8, 0.95))  # noqa: E731
    runner = runner_with_groups([0.1], make, 4, 1, ScheduleHook(), notes)
    runner.schedules["momentum"] = Linear(min_value=0.4, by_epoch=False).for_run(runner.clock)
    runner.run()
    assert [m for _, (m,), _ in notes.rows] == pytest.approx([0.8, 0.7, 0.6, 0.5])
    assert runner.optimizer.param_groups[0]["betas"][1] == 0.95


def test_momentum_needs_an_optimizer_that_has_it():
    runner = runner_with_groups([0.1], torch.optim.Adagrad, 2, 1, ScheduleHook())
    runner.schedules["momentum"] = Fixed()
    with pytest.raises(ConfigError, match="momentum_schedule: Adagrad has neither momentum nor betas"):
        runner.run()


def test_weight_decay_of_zero_stays_zero():
    notes = Notebook()
    hooks = (ScheduleHook(), notes)
    runner = runner_with_groups([0.1, 0.1], torch.optim.SGD, 4, 1, *hooks, weight_decay=[0.2, 0.0])
    runner.schedules["weight_decay"] = Linear(min_value=0.1, by_epoch=False).for_run(runner.clock)
    runner.run()
    assert [w for _, _, (w, _) in notes.rows] == pytest.approx([0.2, 0.175, 0.15, 0.125])
    assert {w for _, _, (_, w) in notes.rows} == {0.0}


def test_a_list_of_the_wrong_length_names_the_key():
    runner = runner_with_groups([0.1, 0.1], torch.optim.SGD, 4, 1, ScheduleHook())
    runner.schedules["lr"] = OneCycle(max_value=[0.1, 0.2, 0.3]).for_run(runner.clock)
    with pytest.raises(ConfigError, match=r"lr_schedule\.max_lr"):
        runner.run()


PLATEAUS = [
    # parameters, values, reductions after them
    ({"patience": 2}, [5, 4, 3], 0),
    ({"patience": 2}, [3, 3, 3], 0),
    ({"patience": 2}, [3, 3, 3, 3], 1),
    ({"patience": 0}, [3, 3, 3, 3], 3),
    ({"patience": 1}, [3, 4, 2, 4, 5], 1),
    ({"patience": 0, "cooldown": 2}, [3, 3, 3, 3, 3], 2),
    ({"patience": 0, "threshold": 0.5}, [4, 3, 1.9], 1),
    ({"patience": 0, "mode": "max", "threshold": 0.1}, [10, 10.5, 12], 1),
    ({"patience": 1}, [math.nan, 4, 3], 0),
    ({"patience": 0}, [math.nan, math.nan], 2),
    ({"patience": 1}, [math.inf, 4, 3], 0),
    ({"patience": 1, "mode": "max"}, [-math.inf, 3, 4, math.nan], 0),
]


@pytest.mark.parametrize(("parameters", "values", "reductions"), PLATEAUS)
def test_plateau_counts_as_torch_does(parameters, values, reductions):
    assert Plateau(**parameters).reductions([{"val/loss": value} for value in values]) == reductions
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **({"patience": 5} | parameters))
    for value in values:
        theirs.step(value)
    assert round(-math.log10(optimizer.param_groups[0]["lr"])) == reductions


def test_plateau_with_warmup_and_floor():
    curve = Plateau(monitor="val/loss", factor=0.5, patience=0, min_value=0.3)
    clock = Clock.for_run(2, max_epochs=5)
    schedule = WarmUp(curve, warmup="linear", warmup_iters=2, warmup_ratio=0.5).for_run(clock)
    history: list = []
    seen = []
    for epoch in range(5):
        seen += [schedule(1.0, clock.at(iteration, history)) for iteration in (2 * epoch, 2 * epoch + 1)]
        history.append({"epoch": epoch + 1, "val/loss": 1.0})
    assert seen == [0.5, 0.75, 1.0, 1.0, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3]


def test_plateau_in_training_follows_the_metric():
    class LearnNothing(Hook):
        def before_backward(self, runner):
            runner.outputs["loss"] = runner.outputs["loss"] * 0

    notes = Notebook()
    runner = toy_runner(ScheduleHook(), LearnNothing(), notes, EvaluationHook(), max_epochs=4)
    runner.schedules["lr"] = Plateau(patience=0).for_run(runner.clock)
    runner.run()
    assert [lr for (lr,), _, _ in notes.rows[::5]] == pytest.approx([0.1, 0.1, 0.01, 0.001])


def test_plateau_of_an_unknown_metric(train):
    finished = train("lr_schedule=plateau", "lr_schedule.monitor=val/acc", "runner.max_epochs=2", "data.batch_size=700")
    assert finished.status == 2
    assert "lr_schedule.monitor=val/acc: must be one of train/loss, val/loss, val/top1" in finished.err
    assert "val/top1" in finished.err


LIBRARY = [
    # target, arguments, by epoch
    ("torch.optim.lr_scheduler.StepLR", {"step_size": 2, "gamma": 0.5}, True),
    ("torch.optim.lr_scheduler.OneCycleLR", {"max_lr": 0.4, "total_steps": 20}, False),
    ("torch.optim.lr_scheduler.CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}, True),
    ("timm.scheduler.CosineLRScheduler", {"t_initial": 5, "warmup_t": 2, "warmup_lr_init": 0.01}, True),
    ("timm.scheduler.StepLRScheduler", {"decay_t": 6, "decay_rate": 0.5, "t_in_epochs": False}, False),
    ("timm.scheduler.CosineLRScheduler", {"t_initial": 20, "noise_range_t": 0, "t_in_epochs": False}, False),
]


def library_node(target: str, arguments: dict, by_epoch: bool) -> dict:
    return {
        "_target_": "hookline.optim.library_schedule.LibrarySchedule",
        "by_epoch": by_epoch,
        "scheduler": {"_target_": target, "_partial_": True, **arguments},
    }


@pytest.mark.parametrize(("target", "arguments", "by_epoch"), LIBRARY, ids=lambda v: str(v).rpartition(".")[2])
def test_library_schedulers_give_what_they_give_by_hand(target, arguments, by_epoch):
    from hydra.utils import get_class

    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    theirs = get_class(target)(optimizer, **arguments)
    expected = []
    for epoch in range(5):
        for _ in range(4):
            expected.append(optimizer.param_groups[0]["lr"])
            if not by_epoch:
                optimizer.step()
                theirs.step() if target.startswith("torch") else theirs.step_update(len(expected))
        if by_epoch:
            optimizer.step()
            theirs.step() if target.startswith("torch") else theirs.step(epoch + 1)
    notes = Notebook()
    runner = runner_with_groups([0.1], lambda g: torch.optim.SGD(g, momentum=0.9), 4, 5, ScheduleHook(), notes)
    node = library_node(target, arguments, by_epoch)
    runner.schedules["lr"] = build_schedule(node, "lr", runner.clock)
    runner.run()
    assert [lr for (lr,), _, _ in notes.rows] == expected
    backwards = [runner.schedules["lr"](0.1, runner.clock.at(i)) for i in reversed(range(20))]
    assert backwards[::-1] == expected


def test_library_scheduler_mistakes(train):
    base = ["lr_schedule=torch", "runner.max_iters=1"]
    finished = train(*base, "+lr_schedule.scheduler.gama=1")
    assert finished.status == 2
    assert "lr_schedule.scheduler.gama=1: torch.optim.lr_scheduler.LinearLR takes no argument 'gama'" in finished.err
    finished = train(*base, "lr_schedule.scheduler._target_=torch.optim.lr_scheduler.ReduceLROnPlateau")
    assert finished.status == 2
    assert "use lr_schedule=plateau" in finished.err
    finished = train(*base, "+lr_schedule.scheduler.start_factor=7")
    assert finished.status == 2
    assert "lr_schedule.scheduler=LinearLR: must be given arguments that fit this run" in finished.err
    finished = train(*base, "lr_schedule.scheduler._target_=timm.scheduler.PlateauLRScheduler")
    assert finished.status == 2
    assert "use lr_schedule=plateau" in finished.err
    timm = [
        *base,
        "lr_schedule.scheduler._target_=timm.scheduler.CosineLRScheduler",
        "+lr_schedule.scheduler.t_initial=9",
    ]
    finished = train(*timm, "lr_schedule.by_epoch=false", "+lr_schedule.scheduler.t_in_epochs=true")
    assert finished.status == 2
    assert "lr_schedule.scheduler.t_in_epochs=true: must be left out" in finished.err


def test_a_library_scheduler_that_ends_before_the_run_is_refused_before_training(train):
    arguments = [
        "lr_schedule.by_epoch=false",
        "+lr_schedule.scheduler.max_lr=1",
        "+lr_schedule.scheduler.total_steps=20",
    ]
    finished = train(
        "lr_schedule=torch", "lr_schedule.scheduler._target_=torch.optim.lr_scheduler.OneCycleLR", *arguments
    )
    assert finished.status == 2
    assert "lr_schedule.scheduler=OneCycleLR: must be given arguments that fit this run: Tried to step" in finished.err
    assert not (finished.run_dir / "metrics.csv").exists()


def test_timm_schedulers_count_what_by_epoch_says():
    node = library_node("timm.scheduler.CosineLRScheduler", {"t_initial": 20}, by_epoch=False)
    clock = Clock.for_run(4, max_epochs=5)
    curve = build_schedule(node, "lr", clock)
    assert [curve(0.1, clock.at(i)) for i in range(20)] == pytest.approx(
        [0.05 * (1 + math.cos(math.pi * i / 20)) for i in range(20)]
    )


@pytest.mark.parametrize("max_lr", [[0.1, 0.2], 0.1])
def test_a_library_scheduler_with_a_value_for_each_group(max_lr):
    arguments = {"max_lr": max_lr, "total_steps": 8, "cycle_momentum": False}
    notes = Notebook()
    runner = runner_with_groups([0.3, 0.3], torch.optim.SGD, 4, 2, ScheduleHook(), notes)
    node = library_node("torch.optim.lr_scheduler.OneCycleLR", arguments, by_epoch=False)
    runner.schedules["lr"] = build_schedule(node, "lr", runner.clock)
    runner.run()
    layers = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [p]} for p in layers], lr=0.3)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, **arguments)
    for lrs, _, _ in notes.rows:
        assert lrs == [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        if theirs.last_epoch < 7:
            theirs.step()


def test_a_library_scheduler_costs_the_same_for_each_group():
    def seconds(groups: int) -> float:
        node = library_node("torch.optim.lr_scheduler.CosineAnnealingLR", {"T_max": 500}, by_epoch=False)
        clock = Clock.for_run(500, max_epochs=1)
        curve = build_schedule(node, "lr", clock)
        curves = [curve.for_group(index, groups) for index in range(groups)]
        start = time.process_time()
        for index, each in enumerate(curves):
            each(0.1 + index, clock.at(499))
        return (time.process_time() - start) / groups

    seconds(1)
    assert min(seconds(24) for _ in range(3)) < 3 * max(seconds(1) for _ in range(5))


@pytest.mark.parametrize(
    "schedule",
    ["cosine", "plateau", "one_cycle", "torch", "wsd"],
)
def test_a_resumed_run_is_the_uninterrupted_one(schedule, tmp_path, option):
    def build(stop_after: int = 99) -> Runner:
        class Stop(Hook):
            priority = 100

            def after_train_epoch(self, runner):
                if runner.clock.epoch + 1 == stop_after:
                    runner.stop("half-way")

        hooks = [ScheduleHook(), TrainMetricsHook(), EvaluationHook(), notes, Stop()]
        runner = toy_runner(*hooks, max_epochs=6)
        for group in runner.optimizer.param_groups:
            group["weight_decay"] = 0.01
        parameters = {"patience": 0, "threshold": 0.2} if schedule == "plateau" else {}
        node = option("lr_schedule", schedule, warmup="linear", warmup_iters=7, **parameters)
        runner.schedules["lr"] = build_schedule(node, "lr", runner.clock)
        return runner

    notes = Notebook()
    whole = build()
    whole.run()
    expected, notes = notes.rows, Notebook()
    first = build(stop_after=4)
    first.run()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = build()
    second.run(torch.load(tmp_path / "state.pt", weights_only=True))
    assert notes.rows == expected
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [timeless(row) for row in second.history] == [timeless(row) for row in whole.history]
    assert timeless(second.best) == timeless(whole.best)


def test_all_three_schedules_from_the_command_line(train):
    finished = train(
        "lr_schedule=cyclic",
        "momentum_schedule=cyclic",
        "weight_decay_schedule=cosine",
        "runner.max_epochs=1",
        "logger.interval=1",
        "optimizer.lr=0.01",
    )
    assert finished.status == 0, finished.err
    momentum = [value for _, value in scalars(finished.run_dir / "tensorboard")["momentum/base"]]
    assert min(momentum) < 0.85


def test_any_field_of_the_parameter_groups(train):
    schedule = ["+alpha_schedule._target_=hookline.schedules.Linear", "+alpha_schedule.min_alpha=0.5"]
    finished = train("optimizer=rmsprop", *schedule, "runner.max_epochs=3", "data.batch_size=800")
    assert finished.status == 0, finished.err
    alpha = [value for _, value in scalars(finished.run_dir / "tensorboard")["alpha/base"]]
    assert alpha[-1] == pytest.approx(0.5 + 0.49 / 3)
    refused = train("optimizer=sgd", *schedule, "runner.max_iters=1")
    assert refused.status == 2
    assert "alpha_schedule: SGD has no alpha to schedule" in refused.err
