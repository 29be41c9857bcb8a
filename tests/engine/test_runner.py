"""What the runner promises to hooks."""

from __future__ import annotations

import pytest
import torch
from tests.toy import ToySource, toy_loader, toy_model, toy_runner
from torch import nn

from hookline.config.errors import ConfigError, ParameterError
from hookline.data import InMemoryLoader, Normalize
from hookline.engine import Forward, Runner
from hookline.engine.hook import STAGES, calls_of
from hookline.hooks import Hook, Priority
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.metrics import TopK
from hookline.schedules import Clock


def recorder(log: list, *stages: str, name: str = "", priority: int = Priority.NORMAL) -> Hook:
    """Return a hook that overrides just these stages and notes each call."""

    def method(stage):
        def note(self, runner):
            clock = runner.clock
            log.append((name or stage, runner.mode, clock.epoch, clock.iter, clock.position))

        return note

    kind = type("Recorder", (Hook,), {stage: method(stage) for stage in stages})
    kind.priority = priority
    return kind()


def test_stages_in_order():
    log: list = []
    toy_runner(recorder(log, *STAGES), EvaluationHook(), samples=8).run()
    update = [
        ("before_train_iter", "train"),
        ("before_backward", "train"),
        ("after_train_iter", "train"),
        ("between_updates", "train"),
    ]
    val = [("before_val_iter", "val"), ("after_val_iter", "val")]
    epoch = [
        ("before_train_epoch", "train"),
        *update * 2,
        ("after_train_epoch", "train"),
        ("before_val_epoch", "val"),
        *val * 2,
        ("after_val_epoch", "val"),
        ("after_record", "train"),
        ("between_updates", "train"),
    ]
    assert [entry[:2] for entry in log] == [("before_run", "train"), *epoch * 2, ("after_run", "train")]


def test_what_an_update_logs_is_recorded_before_the_next():
    log: list = []

    class Log(Hook):
        def after_train_iter(self, runner):
            if runner.clock.iter == 1:
                runner.log({"mine": 3.0})

    stages = ("after_train_iter", "after_record", "between_updates")
    runner = toy_runner(Log(), recorder(log, *stages), samples=12, max_epochs=1)
    runner.run()
    one = ["after_train_iter", "between_updates"]
    row = ["after_train_iter", "after_record", "between_updates"]
    assert [entry[0] for entry in log] == [*one, *row, *one, "after_record", "between_updates"]
    assert runner.history == [
        {"epoch": pytest.approx(2 / 3), "iterations": 2, "mine": 3.0},
        {"epoch": 1, "iterations": 3},
    ]


def test_position():
    log: list = []
    runner = toy_runner(recorder(log, "before_train_iter", "between_updates", "after_train_epoch"), samples=8)
    runner.run()
    got = [entry[2:] for entry in log if entry[0] == "before_train_iter"]
    assert got == [(0, 0, 0), (0, 1, 1), (1, 2, 0), (1, 3, 1)]
    got = [entry[2:] for entry in log if entry[0] == "between_updates"]
    assert got == [(0, 1, 1), (0, 2, 2), (1, 2, 0), (1, 3, 1), (1, 4, 2), (2, 4, 0)]
    assert [entry[2:4] for entry in log if entry[0] == "after_train_epoch"] == [(0, 2), (1, 4)]
    clock = runner.clock
    assert (clock.epoch, clock.iter, clock.max_epochs, clock.max_iters) == (2, 4, 2, 4)


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
    toy_runner(recorder(log, "before_iter", "after_epoch"), EvaluationHook(), samples=4).run()
    once = [("before_iter", "train"), ("before_iter", "val"), ("after_epoch", "val")]
    assert sorted(entry[:2] for entry in log) == sorted([*once, ("after_epoch", "train")] * 2)


def test_the_stage_wins_over_the_method_of_both_modes():
    log: list = []
    toy_runner(recorder(log, "before_iter", "before_train_iter"), EvaluationHook(), samples=4).run()
    assert [entry[:2] for entry in log] == [("before_train_iter", "train"), ("before_iter", "val")] * 2


def test_what_is_not_overridden_is_not_called():
    quiet, busy = Hook(), recorder([], "after_train_iter")
    assert not any(calls_of([quiet], stage) for stage in STAGES)
    assert [stage for stage in STAGES if calls_of([busy], stage)] == ["after_train_iter"]


def test_order_is_told():
    first, second = recorder([], "before_backward"), EvaluationHook()
    first.name, first.priority = "mine", Priority.ABOVE_NORMAL
    table = toy_runner(first, second).describe_hooks()
    assert "before_backward    mine (ABOVE_NORMAL)" in table
    assert "after_train_epoch  evaluation (BELOW_NORMAL)" in table
    assert "before_train_iter" not in table


def test_a_hook_without_a_name_gets_its_classs_and_no_two_get_the_same():
    named = EvaluationHook()
    named.name = "mine"
    runner = toy_runner(EvaluationHook(), EvaluationHook(), named)
    assert [hook.name for hook in runner.hooks] == ["evaluation", "evaluation_2", "mine"]


def test_hooks_see_batch_and_outputs():
    seen = []

    class Look(Hook):
        def after_iter(self, runner):
            images = runner.batch.images
            seen.append((runner.mode, len(images), runner.outputs["logits"].shape, set(runner.outputs)))
            if runner.mode == "val":
                assert torch.equal(runner.model(images), runner.outputs["logits"])

    toy_runner(Look(), EvaluationHook(), max_iters=1).run()
    assert seen[0] == ("train", 4, (4, 3), {"loss", "logits"})
    assert seen[1] == ("val", 4, (4, 3), {"logits"})


def test_a_hook_can_replace_the_batch():
    class Blank(Hook):
        def before_train_iter(self, runner):
            runner.batch.images = torch.zeros_like(runner.batch.images)

    runner = toy_runner(Blank(), max_iters=3)
    before = runner.model[1].weight.detach().clone()
    runner.run()
    assert torch.equal(runner.model[1].weight, before)


@pytest.mark.parametrize(("iters", "epochs"), [(1, 1), (5, 1), (7, 2), (10, 2)])
def test_length_in_iterations(iters, epochs):
    log: list = []
    runner = toy_runner(recorder(log, "after_train_iter", "after_train_epoch"), max_iters=iters)
    runner.run()
    names = [entry[0] for entry in log]
    assert (names.count("after_train_iter"), names.count("after_train_epoch")) == (iters, epochs)
    assert names[-1] == "after_train_epoch"
    assert runner.clock.max_epochs == epochs
    assert runner.status == "completed"


def test_hooks_act_at_their_own_intervals():
    class Every(Hook):
        def __init__(self, interval):
            self.interval = interval
            self.acted = []

        def after_train_iter(self, runner):
            if runner.clock.due(self.interval):
                self.acted.append(runner.clock.iter)

    toy_runner(seven := Every(7), ten := Every(10), max_iters=33).run()
    assert seven.acted == [0, 7, 14, 21, 28, 32]
    assert ten.acted == [0, 10, 20, 30, 32]


def test_a_hook_can_stop_training():
    log: list = []

    class Stop(Hook):
        def after_train_iter(self, runner):
            if runner.clock.iter == 2:
                runner.stop("enough")

    runner = toy_runner(Stop(), recorder(log, "after_train_iter", "after_train_epoch", "after_run"))
    runner.run()
    assert [entry[0] for entry in log] == ["after_train_iter"] * 3 + ["after_train_epoch", "after_run"]
    assert (runner.status, runner.stop_reason) == ("stopped", "enough")


def test_model_modes():
    modes = []

    class Look(Hook):
        def before_iter(self, runner):
            modes.append((runner.mode, runner.model.training, torch.is_grad_enabled()))

    toy_runner(Look(), EvaluationHook(), samples=4).run()
    assert modes == [("train", True, True), ("val", False, False)] * 2


def test_an_evaluation_between_two_updates_changes_nothing_but_the_history():
    class Evaluate(Hook):
        priority = Priority.HIGH

        def after_train_iter(self, runner):
            if runner.clock.iter == 2:
                runner.evaluate()

    models, histories = [], []
    for hooks in ([], [Evaluate()]):
        model = toy_model().insert(1, nn.BatchNorm1d(4)).append(nn.Dropout(0.5))
        runner = toy_runner(*hooks, TrainMetricsHook(), model=model)
        runner.run()
        models.append(runner.model.state_dict())
        histories.append(runner.history)
    assert all(torch.equal(value, models[1][name]) for name, value in models[0].items())
    extra = histories[1].pop(0)
    assert set(extra) == {"epoch", "iterations", "val/loss", "val/top1", "val/top5"}
    assert (extra["epoch"], extra["iterations"]) == (pytest.approx(0.6), 3)
    assert [row["train/loss"] for row in histories[0]] == [row["train/loss"] for row in histories[1]]


def test_updates_equal_a_loop_by_hand():
    runner = toy_runner()
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    model.load_state_dict(runner.model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    runner.run()
    for epoch in range(2):
        for batch in toy_loader(shuffle=True).batches(epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch.images), batch.targets).backward()
            optimizer.step()
    for ours, theirs in zip(runner.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_dropout_is_a_function_of_seed_and_iteration():
    def run(noise: int, seed: int) -> torch.Tensor:
        runner = toy_runner(model=toy_model().append(nn.Dropout(0.5)), seed=seed)
        torch.manual_seed(noise)
        runner.run()
        return runner.model[1].weight.detach()

    assert torch.equal(run(1, seed=0), run(2, seed=0))
    assert not torch.equal(run(1, seed=0), run(1, seed=1))


def test_every_update_has_its_own_dropout():
    class Masks(Hook):
        def __init__(self):
            self.seen = set()

        def after_train_iter(self, runner):
            self.seen.add(tuple((runner.outputs["logits"] == 0).flatten().tolist()))

    toy_runner(masks := Masks(), model=toy_model().append(nn.Dropout(0.5))).run()
    assert len(masks.seen) == 10


@pytest.mark.parametrize(
    "overrides",
    [["runner.max_epochs=1"], ["runner.max_iters=null", "runner.max_epochs=null"]],
)
def test_one_length(runner, overrides):
    with pytest.raises(ConfigError, match=r"runner\.max_epochs=.*: must be given, or else max_iters, and not both"):
        runner(*overrides)


@pytest.mark.parametrize("options", [{"max_iters": 3, "max_epochs": 1}, {}])
def test_a_clock_needs_one_length(options):
    with pytest.raises(ValueError, match="max_epochs or max_iters"):
        Clock.for_run(5, **options)


@pytest.mark.parametrize("value", [-1, 101, "FIRST", None, 1.5, True])
def test_priorities_that_are_none(value):
    with pytest.raises(ParameterError, match="0 to 100, or one of HIGHEST"):
        Priority.parse(value)


@pytest.mark.parametrize(("value", "number"), [("low", 70), ("VERY_HIGH", 10), (33, 33), (0, 0), (100, 100)])
def test_priorities(value, number):
    assert Priority.parse(value) == number


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision(precision):
    computed, given = set(), set()

    class Look(Hook):
        def after_iter(self, runner):
            given.add(runner.outputs["logits"].dtype)

    model = toy_model()
    model[1].register_forward_hook(lambda module, inputs, output: computed.add(output.dtype))
    runner = toy_runner(EvaluationHook(), Look(), model=model, precision=precision)
    before = [p.clone() for p in runner.model.parameters()]
    runner.run()
    assert computed == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert given == {torch.float32}
    assert all(p.dtype == torch.float32 for p in runner.model.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, runner.model.parameters(), strict=True))
    assert runner.update.scaler.is_enabled() == (precision == "fp16")


def test_infinite_gradients_skip_the_update_under_fp16():
    runner = toy_runner(loss=lambda logits, labels: logits.sum() * float("inf"), precision="fp16", max_iters=1)
    before = [p.clone() for p in runner.model.parameters()]
    scale = runner.update.scaler.get_scale()
    runner.run()
    assert all(torch.equal(a, b) for a, b in zip(before, runner.model.parameters(), strict=True))
    assert runner.update.scaler.get_scale() < scale


class ColourSource(ToySource):
    """The toy images in three channels, whose memory order can be told."""

    channels = 3

    def load(self):
        images, targets = super().load()
        return images.expand(-1, 3, -1, -1).contiguous(), targets


def test_channels_last():
    formats = []
    model = nn.Sequential(nn.Conv2d(3, 3, 2), nn.Flatten())
    model[0].register_forward_pre_hook(
        lambda module, inputs: formats.extend(
            tensor.is_contiguous(memory_format=torch.channels_last) for tensor in (*inputs, module.weight)
        )
    )
    loader = InMemoryLoader(ColourSource(), batch_size=4, transforms=toy_loader().transforms)
    runner = toy_runner(model=model, loader=loader, channels_last=True, max_iters=1)
    runner.val_loader = loader
    runner.run()
    runner.evaluate()
    assert len(formats) == 2 * (1 + 5)
    assert all(formats)


def test_compile(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model, **options: compiled.append(model) or model)
    model = toy_model()
    forward = Forward(model, compile=True)
    assert compiled == [model]
    assert set(forward.model.state_dict()) == {"1.weight", "1.bias"}
    images = torch.rand(2, 1, 2, 2)
    assert torch.equal(forward(images), model(images))


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


class Waits(Hook):
    """Notes at each stage whether other processes would wait for this one."""

    def __init__(self, **attributes: bool) -> None:
        self.seen: dict[tuple[str, int], bool] = {}
        vars(self).update(attributes)

    def before_run(self, runner: Runner) -> None:
        self.note("before_run", runner)

    def before_train_iter(self, runner: Runner) -> None:
        self.note("before_train_iter", runner)

    def before_backward(self, runner: Runner) -> None:
        self.note("before_backward", runner)

    def before_val_iter(self, runner: Runner) -> None:
        self.note("before_val_iter", runner)

    def after_run(self, runner: Runner) -> None:
        self.note("after_run", runner)

    def note(self, stage: str, runner: Runner) -> None:
        self.seen[stage, runner.clock.iter] = runner.others_wait


def test_what_may_take_one_process_long():
    hook = Waits()
    runner = toy_runner(hook, workflow=[("train", 1), ("val", 1)], max_epochs=1)
    runner.run()
    assert hook.seen["before_run", 0]
    assert hook.seen["before_train_iter", 0]
    assert not hook.seen["before_train_iter", 1]
    assert not hook.seen["before_backward", 4]
    assert not hook.seen["before_val_iter", 5]
    assert hook.seen["after_run", 5]


@pytest.mark.parametrize("attribute", ["first_only", "others_wait"])
def test_a_hook_that_may_take_one_process_long(attribute):
    hook = Waits(**{attribute: True})
    toy_runner(hook, max_epochs=1).run()
    assert set(hook.seen.values()) == {True}


def test_waiting_for_data_may_take_one_process_long():
    class Spied(InMemoryLoader):
        def batches(self, epoch: int, start: int = 0):
            for batch in super().batches(epoch, start):
                seen[self] = runner.others_wait, runner.place
                yield batch

    seen: dict[Spied, tuple[bool, str]] = {}
    normalize = {"normalize": Normalize([0.5], [0.5])}
    training, validation = (Spied(ToySource(8), batch_size=4, transforms=normalize) for _ in range(2))
    runner = toy_runner(loader=training, workflow=[("train", 1), ("val", 1)], max_epochs=1)
    runner.val_loader = validation
    runner.run()
    assert seen == {training: (True, "data of iteration 2"), validation: (True, "data of iteration 3")}


def test_the_place_of_a_validation_batch_is_the_evaluation():
    class Seen(TopK):
        def update(self, outputs, batch):
            seen.add(runner.place)
            super().update(outputs, batch)

    class After(Hook):
        def after_train_epoch(self, runner):
            runner.evaluate()
            seen.add(runner.place)

    seen: set[str] = set()
    hook = After()
    runner = toy_runner(hook, max_epochs=1)
    runner.metrics = [Seen(1)]
    runner.run()
    assert seen == {"evaluation of iteration 6", f"hooks.{hook.name}, in after_train_epoch of iteration 6"}
