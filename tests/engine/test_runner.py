"""What the runner promises to hooks."""

from __future__ import annotations

import pytest
import torch
from tests.toy import toy_data, toy_runner
from torch import nn

from hookline.config.errors import ParameterError
from hookline.engine.hook import STAGES, calls_of
from hookline.engine.update import OptimizerHook
from hookline.hooks import Hook, Priority
from hookline.hooks.evaluation import EvaluationHook


def recorder(log: list, *stages: str, name: str = "", priority: int = Priority.NORMAL) -> Hook:
    """Return a hook that overrides just these stages and notes each call."""

    def method(stage):
        def note(self, runner):
            log.append((name or stage, runner.mode, runner.epoch, runner.iter, runner.inner_iter))

        return note

    kind = type("Recorder", (Hook,), {stage: method(stage) for stage in stages})
    kind.priority = priority
    return kind()


def test_stages_in_order():
    log: list = []
    runner = toy_runner(recorder(log, *STAGES), EvaluationHook(), data=toy_data(samples=8))
    runner.run()
    train = [("before_train_iter", "train"), ("after_train_iter", "train")]
    val = [("before_val_iter", "val"), ("after_val_iter", "val")]
    epoch = [
        ("before_train_epoch", "train"),
        *train * 2,
        ("after_train_epoch", "train"),
        ("before_val_epoch", "val"),
        *val * 2,
        ("after_val_epoch", "val"),
    ]
    assert [entry[:2] for entry in log] == [("before_run", "train"), *epoch * 2, ("after_run", "train")]


def test_position():
    log: list = []
    runner = toy_runner(recorder(log, "before_train_iter", "after_train_epoch"), data=toy_data(samples=8))
    runner.run()
    got = [entry[2:] for entry in log if entry[0] == "before_train_iter"]
    assert got == [(0, 0, 0), (0, 1, 1), (1, 2, 0), (1, 3, 1)]
    assert [entry[2:4] for entry in log if entry[0] == "after_train_epoch"] == [(0, 2), (1, 4)]
    assert (runner.epoch, runner.iter, runner.max_epochs, runner.max_iters) == (2, 4, 2, 4)


def test_priority_then_the_order_given():
    log: list = []
    hooks = [
        recorder(log, "before_run", name=name, priority=priority)
        for name, priority in (("c", 50), ("e", 90), ("d", 50), ("a", 0), ("b", Priority.VERY_HIGH))
    ]
    runner = toy_runner(*hooks)
    late = recorder(log, "before_run", name="b2", priority=10)
    runner.register_hooks([late])
    runner.call("before_run")
    assert [entry[0] for entry in log] == ["a", "b", "b2", "c", "d", "e"]


def test_both_modes_by_one_method():
    log: list = []
    runner = toy_runner(recorder(log, "before_iter", "after_epoch"), EvaluationHook(), data=toy_data(samples=4))
    runner.run()
    once = [("before_iter", "train"), ("before_iter", "val"), ("after_epoch", "val")]
    assert sorted(entry[:2] for entry in log) == sorted([*once, ("after_epoch", "train")] * 2)


def test_the_stage_wins_over_the_method_of_both_modes():
    log: list = []
    runner = toy_runner(recorder(log, "before_iter", "before_train_iter"), EvaluationHook(), data=toy_data(samples=4))
    runner.run()
    assert [entry[:2] for entry in log] == [("before_train_iter", "train"), ("before_iter", "val")] * 2


def test_what_is_not_overridden_is_not_called():
    quiet, busy = Hook(), recorder([], "after_train_iter")
    assert all(calls_of([quiet], stage) == () for stage in STAGES)
    assert [stage for stage in STAGES if calls_of([busy], stage)] == ["after_train_iter"]


def test_order_is_told():
    runner = toy_runner(OptimizerHook(), EvaluationHook())
    table = runner.describe_hooks()
    assert "after_train_iter   OptimizerHook (ABOVE_NORMAL)" in table
    assert "before_train_iter" not in table


def test_hooks_see_batch_and_outputs():
    seen = []

    class Look(Hook):
        def after_iter(self, runner):
            images, _ = runner.batch
            seen.append((runner.mode, len(images), runner.outputs["logits"].shape, set(runner.outputs)))
            assert torch.equal(runner.model(images), runner.outputs["logits"])

    toy_runner(Look(), EvaluationHook(), max_iters=1).run()
    assert seen[0] == ("train", 4, (4, 3), {"loss", "logits"})
    assert seen[1][0] == "val"


@pytest.mark.parametrize(("iters", "epochs"), [(1, 1), (5, 1), (7, 2), (10, 2)])
def test_length_in_iterations(iters, epochs):
    log: list = []
    runner = toy_runner(recorder(log, "after_train_iter", "after_train_epoch"), max_iters=iters)
    runner.run()
    names = [entry[0] for entry in log]
    assert (names.count("after_train_iter"), names.count("after_train_epoch")) == (iters, epochs)
    assert names[-1] == "after_train_epoch"
    assert runner.max_epochs == epochs


def test_a_hook_can_stop_training():
    log: list = []

    class Stop(Hook):
        def after_train_iter(self, runner):
            runner.stop_training = runner.iter == 2

    toy_runner(Stop(), recorder(log, "after_train_iter", "after_train_epoch", "after_run")).run()
    assert [entry[0] for entry in log] == ["after_train_iter"] * 3 + ["after_train_epoch", "after_run"]


def test_model_modes():
    modes = []

    class Look(Hook):
        def before_iter(self, runner):
            modes.append((runner.mode, runner.model.training, torch.is_grad_enabled()))

    toy_runner(Look(), EvaluationHook(), data=toy_data(samples=4)).run()
    assert modes == [("train", True, True), ("val", False, False)] * 2


def test_updates_equal_a_loop_by_hand():
    runner = toy_runner(OptimizerHook())
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    model.load_state_dict(runner.model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    runner.run()
    loader = toy_data().train_loader
    for epoch in range(2):
        loader.set_epoch(epoch)
        for images, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    for ours, theirs in zip(runner.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_dropout_is_a_function_of_seed_and_epoch():
    def run(noise: int, seed: int) -> torch.Tensor:
        torch.manual_seed(noise)
        runner = toy_runner(OptimizerHook(), seed=seed)
        runner.model.append(nn.Dropout(0.5))
        torch.manual_seed(noise)
        runner.run()
        return runner.model[1].weight.detach()

    assert torch.equal(run(1, seed=0), run(2, seed=0))
    assert not torch.equal(run(1, seed=0), run(1, seed=1))


@pytest.mark.parametrize("options", [{"max_iters": 3, "max_epochs": 1}, {"max_iters": None}])
def test_one_length(options):
    with pytest.raises(ParameterError, match="max_epochs"):
        toy_runner(**options)


@pytest.mark.parametrize("value", [-1, 101, "FIRST", None, 1.5, True])
def test_priorities_that_are_none(value):
    with pytest.raises(ParameterError, match="0 to 100, or one of HIGHEST"):
        Priority.parse(value)


@pytest.mark.parametrize(("value", "number"), [("low", 70), ("VERY_HIGH", 10), (33, 33), (0, 0), (100, 100)])
def test_priorities(value, number):
    assert Priority.parse(value) == number


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision(precision):
    dtypes = []

    class Look(Hook):
        def after_iter(self, runner):
            dtypes.append(runner.outputs["logits"].dtype)

    runner = toy_runner(OptimizerHook(), EvaluationHook(), Look(), precision=precision)
    before = [p.clone() for p in runner.model.parameters()]
    runner.run()
    assert set(dtypes) == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert all(p.dtype == torch.float32 for p in runner.model.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, runner.model.parameters(), strict=True))
    assert runner.scaler.is_enabled() == (precision == "fp16")


def test_infinite_gradients_skip_the_update_under_fp16():
    runner = toy_runner(OptimizerHook(), precision="fp16", max_iters=1)
    runner.loss = lambda logits, labels: logits.float().sum() * float("inf")
    before = [p.clone() for p in runner.model.parameters()]
    scale = runner.scaler.get_scale()
    runner.run()
    assert all(torch.equal(a, b) for a, b in zip(before, runner.model.parameters(), strict=True))
    assert runner.scaler.get_scale() < scale


def test_channels_last():
    formats = []
    runner = toy_runner(channels_last=True, max_iters=1)
    runner.forward = lambda images: (
        formats.append(images.is_contiguous(memory_format=torch.channels_last)) or runner.model(images)
    )
    runner.run()
    runner.val_epoch()
    assert formats
    assert all(formats)


def test_compile(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    runner = toy_runner(compile=True)
    assert compiled == [runner.model]
    assert set(runner.state_dict()["model"]) == {"1.weight", "1.bias"}


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("compile", [False, True])
def test_cuda(train, precision, compile):
    finished = train(
        "runner.device=cuda",
        f"runner.precision={precision}",
        f"runner.compile={str(compile).lower()}",
        "runner.channels_last=true",
        "runner.max_epochs=6",
    )
    assert finished.status == 0
    assert finished.result["device"].startswith("cuda")
    assert finished.result["best"]["val/top1"] > 90


@pytest.mark.cuda
def test_auto_takes_cuda(train):
    assert train("runner.max_iters=1").result["device"].startswith("cuda")
