"""What a run's state holds, what it refuses, and that a run goes on from it as if it had never stopped."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from tests.engine.test_runner import ColourSource
from tests.toy import timeless, toy_loader, toy_model, toy_runner
from torch import nn

from hookline.data import InMemoryLoader
from hookline.engine import Runner
from hookline.engine.run_state import StateError
from hookline.hooks import Hook
from hookline.hooks.ema import EMAHook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.log import LogHook
from hookline.hooks.lr_curve import LRCurveHook
from hookline.hooks.schedule import ScheduleHook
from hookline.hooks.text import TextHook
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.job import Job
from hookline.loggers.metrics_csv import MetricsCSVSink
from hookline.loggers.tensorboard import TensorBoardSink
from hookline.schedules import Cosine


class Keep(Hook):
    """Keeps the state after so many updates."""

    def __init__(self, updates: int) -> None:
        self.updates = updates
        self.kept: dict = {}

    def between_updates(self, runner):
        if runner.clock.iter == self.updates and not self.kept:
            self.kept = copy.deepcopy(runner.state_dict())


def state_of(*hooks: Hook, **options) -> dict:
    """Return the state at the end of a run."""
    runner = toy_runner(*hooks, **options)
    runner.run()
    return runner.state_dict()


def resumed(state: dict, *hooks: Hook, **options) -> Runner:
    runner = toy_runner(*hooks, **options)
    runner.run(state)
    return runner


def assert_same_weights(one: Runner, other: Runner) -> None:
    for a, b in zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def named(hook: Hook, name: str) -> Hook:
    hook.name = name
    return hook


def test_the_parts_by_name():
    state = state_of(EMAHook(), TrainMetricsHook(), EvaluationHook())
    assert set(state) == {"format", "watchers", "parts"}
    run = {"model", "optimizer", "scaler", "clock", "random", "loader", "sums", "history"}
    assert set(state["parts"]) == run | {"hooks.ema", "hooks.train_metrics"}


@pytest.mark.parametrize("part", ["model", "optimizer", "random", "hooks.ema"])
def test_a_missing_part_is_named(part):
    state = state_of(EMAHook())
    del state["parts"][part]
    with pytest.raises(StateError, match=f"^{part}: the state has no such part"):
        resumed(state, EMAHook())


def test_an_unknown_part_is_named():
    state = state_of(EMAHook())
    with pytest.raises(StateError, match=r"^hooks\.ema: the state has this part and the run has not"):
        resumed(state)
    with pytest.raises(StateError, match=r"^hooks\.ema: the state has no such part\. It has: .*hooks\.average"):
        resumed(state_of(named(EMAHook(), "average")), EMAHook())


@pytest.mark.parametrize("change", [{"format": 1}, {"format": 99}])
def test_another_format_is_refused(change):
    with pytest.raises(StateError, match=f"the state's format is {change['format']}, and this version reads 2"):
        resumed(state_of() | change)
    message = r"of hookline 0\.1 .*and this version reads format 2; its weights load with model\.checkpoint_path=FILE"
    with pytest.raises(StateError, match=message):
        resumed({"model": {}, "epoch": 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"model": nn.Sequential(nn.Flatten(), nn.Linear(4, 5))},
            "^model: the state does not fit: Error.*Sequential",
        ),
        ({"batch_size": 5}, "^clock: the state does not fit: an epoch had 5 iterations and has 4 here"),
        ({"max_iters": 9}, "^clock: the state does not fit: 10 iterations are done, and this run has only 9"),
        ({"loader": toy_loader(shuffle=True, seed=1)}, "^loader: the state does not fit: seed was 0 and is 1 here"),
    ],
)
def test_a_part_that_does_not_fit_is_named(options, message):
    with pytest.raises(StateError, match=message):
        resumed(state_of(), **options)


def test_two_hooks_of_one_class_keep_their_own_states():
    def hooks() -> list[Hook]:
        return [named(EMAHook(decay=0.5), "fast"), named(EMAHook(decay=0.9), "slow")]

    whole = toy_runner(*hooks(), keep := Keep(4))
    whole.run()
    parts = keep.kept["parts"]
    assert not torch.equal(parts["hooks.fast"]["model"]["1.weight"], parts["hooks.slow"]["model"]["1.weight"])
    rest = resumed(keep.kept, *hooks())
    for name in ("fast", "slow"):
        assert torch.equal(rest.averages[name][1].weight, whole.averages[name][1].weight)


@pytest.mark.parametrize(
    "stage",
    ["before_train_epoch", "before_train_iter", "before_backward", "after_train_iter", "after_train_epoch",
     "after_val_epoch", "after_record"],
)  # fmt: skip
def test_no_state_is_taken_while_an_update_or_an_epochs_end_is_under_way(stage):
    def take(self, runner):
        runner.state_dict()

    runner = toy_runner(type("Take", (Hook,), {stage: take})(), EvaluationHook())
    with pytest.raises(RuntimeError, match="only between two updates"):
        runner.run()


def everything(tmp_path) -> list[Hook]:
    sinks = {"csv": MetricsCSVSink(), "tensorboard": TensorBoardSink()}
    return [
        *(ScheduleHook(), EvaluationHook(), EMAHook(decay=0.5), TrainMetricsHook()),
        *(LRCurveHook(), TextHook(), LogHook(sinks)),
    ]


def test_a_state_opens_safely(tmp_path):
    model = toy_model()
    optimizer = torch.optim.AdamW(model.parameters())
    runner = toy_runner(*everything(tmp_path), model=model, optimizer=optimizer, job=Job(tmp_path))
    runner.schedules["lr"] = Cosine(min_value=0).for_run(runner.clock)
    runner.run()
    torch.save(runner.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert set(state["parts"]) == set(runner.state_dict()["parts"])
    assert state["parts"]["history"]["rows"] == runner.history


def test_a_finished_run_can_be_taken_up_again(tmp_path):
    first = toy_runner(*everything(tmp_path), job=Job(tmp_path))
    first.run()
    files = {name: (tmp_path / name).read_bytes() for name in ("metrics.csv", "lr_curve.png")}
    again = toy_runner(*everything(tmp_path), job=Job(tmp_path))
    again.run(first.state_dict())
    assert (again.status, again.clock.iter, again.clock.epoch) == ("completed", 10, 2)
    assert again.history == first.history
    assert again.best == first.best
    assert_same_weights(again, first)
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


@pytest.mark.parametrize("updates", range(1, 10))
def test_going_on_after_any_update(updates):
    def run(*hooks: Hook) -> Runner:
        model = toy_model().insert(1, nn.Dropout(0.3))
        watched = [TrainMetricsHook(), EvaluationHook(), EMAHook(decay=0.5)]
        return toy_runner(*watched, *hooks, model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=0.1))

    whole = run(keep := Keep(updates))
    whole.run()
    rest = run()
    rest.run(keep.kept)
    assert rest.first_iter == updates
    assert_same_weights(rest, whole)
    assert [timeless(row) for row in rest.history] == [timeless(row) for row in whole.history]
    assert timeless(rest.best) == timeless(whole.best)


class RandomDepth(nn.Module):
    """Skips its layer by a draw of Python's generator."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, images):
        x = images.flatten(1)
        return self.head(x if self.training and random.random() < 0.5 else self.skipped(x))


@pytest.mark.parametrize("updates", [2, 5, 7])
def test_pythons_generator_goes_on_too(updates):
    torch.manual_seed(0)
    model = RandomDepth()
    whole = toy_runner(keep := Keep(updates), model=copy.deepcopy(model))
    whole.run()
    random.seed(updates)
    assert_same_weights(resumed(keep.kept, model=model), whole)


@pytest.mark.parametrize("short", [3, 5, 7, 9])
def test_a_longer_run_goes_on_where_a_shorter_one_ended(short):
    hooks = (TrainMetricsHook, EvaluationHook)
    whole = toy_runner(*(hook() for hook in hooks), max_iters=13)
    whole.run()
    state = state_of(*(hook() for hook in hooks), max_iters=short)
    rest = resumed(state, *(hook() for hook in hooks), max_iters=13)
    assert_same_weights(rest, whole)
    assert [timeless(row) for row in rest.history] == [timeless(row) for row in whole.history]


@pytest.mark.parametrize("moment", range(1, 9))
def test_a_run_that_ends_within_an_epoch_goes_on_anywhere(moment):
    def run(*hooks: Hook) -> Runner:
        return toy_runner(TrainMetricsHook(), EvaluationHook(), *hooks, max_iters=8)

    whole = run(keep := Keep(moment))
    whole.run()
    rest = run()
    rest.run(keep.kept)
    assert rest.clock.iter == 8
    assert_same_weights(rest, whole)
    assert [timeless(row) for row in rest.history] == [timeless(row) for row in whole.history]


class StopAfter(Hook):
    """Ends the run within an epoch."""

    def __init__(self, updates: int) -> None:
        self.updates = updates

    def after_train_iter(self, runner):
        if runner.clock.iter + 1 == self.updates:
            runner.stop("enough")


@pytest.mark.parametrize("updates", [1, 3, 4, 7])
def test_a_run_that_a_hook_stopped_goes_on(updates):
    hooks = (TrainMetricsHook, EvaluationHook)
    whole = toy_runner(*(hook() for hook in hooks))
    whole.run()
    state = state_of(StopAfter(updates), *(hook() for hook in hooks))
    assert state["parts"]["clock"]["iter"] == updates
    rest = resumed(state, *(hook() for hook in hooks))
    assert_same_weights(rest, whole)
    assert [timeless(row) for row in rest.history] == [timeless(row) for row in whole.history]


def test_a_state_can_be_taken_up_twice():
    def run(*hooks: Hook) -> Runner:
        model = toy_model()
        return toy_runner(*hooks, model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=0.1))

    whole = run(keep := Keep(4))
    whole.run()
    for _ in range(2):
        rest = run()
        rest.run(keep.kept)
        assert_same_weights(rest, whole)


def test_numbers_that_wait_for_the_next_row_go_on():
    class Late(Hook):
        def between_updates(self, runner):
            if runner.clock.position > 0:
                runner.log({"late": runner.clock.iter})

    whole = toy_runner(Late(), keep := Keep(3))
    whole.run()
    rest = resumed(keep.kept, Late())
    assert rest.history == whole.history
    assert [row["late"] for row in whole.history if "late" in row][:3] == [1, 2, 3]


@pytest.mark.parametrize("when", ["before", "before_run"])
def test_no_state_is_taken_before_the_run(when):
    class Take(Hook):
        def before_run(self, runner):
            runner.state_dict()

    runner = toy_runner(EMAHook(), *([Take()] if when == "before_run" else []))
    with pytest.raises(RuntimeError, match="only between two updates"):
        runner.run() if when == "before_run" else runner.state_dict()


def test_no_state_is_taken_while_a_validation_is_under_way():
    class Measure(Hook):
        def between_updates(self, runner):
            runner.evaluate()

    class Take(Hook):
        def after_val_iter(self, runner):
            runner.state_dict()

    with pytest.raises(RuntimeError, match="only between two updates"):
        toy_runner(Measure(), Take()).run()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": None}, "no parts"),
        ({"clock": {"iter": -1}}, "clock: the state does not fit: iteration -1"),
        ({"clock": {"epoch": 7}}, "clock: the state does not fit: iteration 10 is not in epoch 7"),
        ({"optimizer": {"state": None}}, "optimizer: the state does not fit"),
    ],
)
def test_a_malformed_state_is_told(change, message):
    state = state_of()
    if "parts" in change:
        del state["parts"]
    for part, changed in change.items():
        if part != "parts":
            state["parts"][part] = {**state["parts"][part], **changed}
    with pytest.raises(StateError, match=message):
        resumed(state)


def test_settings_of_the_optimizer_are_the_runs_own():
    state = state_of(lr=0.1, max_iters=5)
    seen = []

    class Look(Hook):
        def after_train_iter(self, runner):
            seen.append(runner.optimizer.param_groups[0]["lr"])

    model = toy_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.5, nesterov=True)
    rest = resumed(state, Look(), model=model, optimizer=optimizer)
    assert seen == [0.02] * 5
    assert optimizer.param_groups[0]["momentum"] == 0.5
    assert optimizer.param_groups[0]["nesterov"]
    # The buffers of the earlier run are there: the first update by hand says so.
    by_hand = toy_model()
    by_hand.load_state_dict(state["parts"]["model"])
    again = torch.optim.SGD(by_hand.parameters(), lr=0.02, momentum=0.5, nesterov=True)
    for parameter, kept in zip(by_hand.parameters(), state["parts"]["optimizer"]["state"].values(), strict=True):
        again.state[parameter]["momentum_buffer"] = kept["momentum_buffer"].clone()
    for batch in rest.train_loader.batches(1):
        again.zero_grad()
        nn.functional.cross_entropy(by_hand(batch.images), batch.targets).backward()
        again.step()
    for ours, theirs in zip(rest.model.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_state_of_another_optimizer_is_refused():
    model = toy_model()
    message = "^optimizer: the state does not fit: it is of a SGD, and the run's optimizer is a AdamW"
    with pytest.raises(StateError, match=message):
        resumed(state_of(), model=model, optimizer=torch.optim.AdamW(model.parameters()))


def test_the_state_of_other_parameter_groups_is_refused():
    model = toy_model()
    groups = [{"params": [parameter]} for parameter in model.parameters()]
    with pytest.raises(StateError, match=r"^optimizer: .* has 1 parameter groups, and the run has 2"):
        resumed(state_of(), model=model, optimizer=torch.optim.SGD(groups, lr=0.1))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("saved", [False, True])
def test_the_memory_order_of_the_saved_run_does_not_matter(saved, fused):
    def runner(channels_last: bool, *hooks: Hook) -> Runner:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 5, 2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(45, 3))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
        loader = InMemoryLoader(ColourSource(), batch_size=4, transforms=toy_loader().transforms, shuffle=True)
        return toy_runner(*hooks, model=model, optimizer=optimizer, channels_last=channels_last, loader=loader)

    first = runner(saved, keep := Keep(5))
    first.run()
    rest = runner(not saved)
    rest.run(keep.kept)
    for ours, theirs in zip(rest.model.parameters(), first.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
