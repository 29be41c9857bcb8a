"""The update: clipping, micro-batches, fp16, the learning rate for the batch size."""

from __future__ import annotations

import logging

import pytest
import torch
from tests.conftest import QUIET
from tests.toy import toy_model, toy_runner
from torch import nn

from hookline.config.errors import ConfigError, ParameterError
from hookline.engine import Sums, Update
from hookline.experiment import build_runner
from hookline.hooks import Hook, Priority
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.job import Job
from hookline.losses import CrossEntropy, Focal


class Gradients(Hook):
    """Keep the norms of the gradients as each update used them."""

    priority = Priority.LOW

    def __init__(self) -> None:
        self.norms: list[float] = []
        self.largest: list[float] = []

    def after_train_iter(self, runner) -> None:
        grads = [p.grad for p in runner.model.parameters()]
        self.norms.append(torch.nn.utils.get_total_norm(grads).item())
        self.largest.append(max(g.abs().max().item() for g in grads))


def run(*hooks: Hook, **update):
    runner = toy_runner(TrainMetricsHook(), *hooks, update=update)
    runner.run()
    return runner


def test_clipping_by_norm_bounds_the_gradient_and_logs_the_norm_before():
    free, bound = Gradients(), Gradients()
    run(free)
    clipped = run(bound, grad_clip={"max_norm": 0.2})
    assert free.norms[0] > 0.25
    assert max(bound.norms) <= 0.2 * (1 + 1e-5)
    assert clipped.history[0]["train/grad_norm"] > 0.2
    only_logged = run(seen := Gradients(), log_grad_norm=True)
    first = len(seen.norms) // 2
    assert only_logged.history[0]["train/grad_norm"] == pytest.approx(sum(seen.norms[:first]) / first, rel=1e-5)
    assert seen.norms == free.norms


def test_clipping_by_value_and_by_the_largest_number():
    run(by_value := Gradients(), grad_clip={"value": 0.05})
    assert max(by_value.largest) == pytest.approx(0.05)
    assert max(by_value.norms) > 0.05
    run(by_norm := Gradients(), grad_clip={"max_norm": 0.05, "norm_type": float("inf")})
    assert max(by_norm.largest) <= 0.05 * (1 + 1e-5)


def test_adaptive_clipping_leaves_the_classifier_alone():
    free, bound = Gradients(), Gradients()
    run(free)
    run(bound, grad_clip={"agc": 1e-3})  # the linear layer is all there is, and it is the head
    assert bound.norms == free.norms
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 3))
    runner = toy_runner(model=model, max_iters=1, update={"grad_clip": {"agc": 1e-3}})
    runner.run()
    weight = runner.model[1].weight
    assert weight.grad is not None
    assert (weight.grad.norm(dim=1) <= 1.01e-3 * (weight + 0.1 * weight.grad).norm(dim=1)).all()


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ({"max_norm": -1.0}, r"grad_clip\.max_norm=-1\.0: must be a number > 0"),
        ({"value": -0.1}, r"grad_clip\.value=-0\.1: must be a number > 0"),
        ({"agc": 0}, r"grad_clip\.agc=0: must be a number > 0"),
        ({"max_norm": 1.0, "agc": 0.1}, r"grad_clip\.agc=0\.1: must be null where max_norm is given"),
        ({"max_nrm": 1.0}, r"grad_clip\.max_nrm=1\.0: .*Did you mean 'max_norm'"),
        ({"max_norm": 1.0, "norm_type": -2}, r"grad_clip\.norm_type=-2"),
    ],
)
def test_wrong_clipping(clip, message):
    with pytest.raises(ParameterError, match=message):
        toy_runner(update={"grad_clip": clip})


@pytest.mark.parametrize("parts", [2, 3, 4, 7])
@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        CrossEntropy(weight=[1.0, 5.0, 0.2], label_smoothing=0.1),
        Focal(weight=[1.0, 5.0, 0.2]),
    ],
    ids=["plain", "weighted", "focal"],
)
def test_micro_batches_give_the_weights_of_whole_batches(parts, loss):
    weights, losses = [], []
    for micro in (1, parts):
        # 20 samples in batches of 6: the last one has 2, fewer than some of the parts.
        update = {"grad_clip": {"max_norm": 0.5}, "micro_batches": micro}
        runner = toy_runner(TrainMetricsHook(), loss=loss, batch_size=6, update=update)
        runner.run()
        weights.append([p.detach().double() for p in runner.model.parameters()])
        losses.append([row["train/loss"] for row in runner.history])
        assert runner.outputs["logits"].shape == (2, 3)
        assert runner.clock.iter == 8
    for whole, accumulated in zip(*weights, strict=True):
        torch.testing.assert_close(accumulated, whole, rtol=1e-5, atol=1e-6)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_skipped_fp16_steps_are_counted_and_told(caplog):
    class Overflow(Hook):
        priority = Priority.HIGH

        def before_backward(self, runner) -> None:
            if runner.clock.iter in (1, 2):
                runner.outputs["loss"] = runner.outputs["loss"] * float("inf")

    runner = toy_runner(TrainMetricsHook(), Overflow(), precision="fp16", update={"grad_clip": {"max_norm": 1.0}})
    runner.update.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    before = [p.detach().clone() for p in runner.model.parameters()]
    with caplog.at_level(logging.INFO, "hookline"):
        runner.run()
    assert [row["train/skipped"] for row in runner.history] == [2, 0]
    assert all(row["train/grad_norm"] > 0 for row in runner.history)
    assert [r.message for r in caplog.records if "skipped" in r.message] == [
        "epoch 1: 2 updates skipped, their gradients were not finite"
    ]
    assert all(
        p.isfinite().all() and not torch.equal(p, b) for p, b in zip(runner.model.parameters(), before, strict=True)
    )


def test_from_the_config(runner):
    made = runner(
        *("update.grad_clip.max_norm=1", "update.micro_batches=3"),
        *("runner.max_iters=2", "data.transforms.resize=null"),
    )
    made.run()
    assert made.history[-1]["train/grad_norm"] > 0
    assert made.update.micro_batches == 3


@pytest.mark.parametrize("value", [0, -1, 1.5, "two"])
def test_wrong_micro_batches(value):
    with pytest.raises(ParameterError, match="micro_batches"):
        toy_runner(update={"micro_batches": value})


class OwnUpdate(Update):
    """Gives a number of its own."""

    def __call__(self, batch, before_backward=None):
        outputs = super().__call__(batch, before_backward)
        outputs["step_size"] = torch.tensor(2.0)
        return outputs


def test_another_update_by_its_path(runner):
    own = "update._target_=tests.engine.test_update.OwnUpdate"
    made = runner(own, "runner.max_iters=2", "data.transforms.resize=null")
    made.run()
    assert made.history[-1]["train/step_size"] == 2
    with pytest.raises(ConfigError, match=r"update\._target_=torch\.nn\.Identity: must name a subclass of"):
        runner("update._target_=torch.nn.Identity")


@pytest.mark.parametrize(("rule", "factor"), [("linear", 0.25), ("sqrt", 0.5)])
def test_lr_scaled_by_batch_size_once(rule, factor, config, tmp_path):
    overrides = ["auto_scale_lr.base_batch_size=256", f"auto_scale_lr.rule={rule}", "runner.device=cpu"]
    overrides += [*QUIET, "data.transforms.resize=null", "lr_schedule=fixed"]
    cfg = config(*overrides, "runner.max_iters=2")
    first = build_runner(cfg, Job(tmp_path))
    assert first.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * factor)
    assert (cfg.auto_scale_lr.base_batch_size, cfg.optimizer.lr) == (256, 0.1)
    first.run()
    second = build_runner(config(*overrides, "runner.max_iters=3"), Job(tmp_path))
    second.run(first.state_dict())
    assert second.clock.iter == 3
    assert second.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * factor)


def test_lr_is_not_scaled_by_default_and_wrong_scaling_is_told(runner):
    assert runner().optimizer.param_groups[0]["lr"] == 0.1
    for override, message in {
        "auto_scale_lr.base_batch_size=0": r"auto_scale_lr\.base_batch_size=0: must be an integer > 0",
        "auto_scale_lr.rule=cubic": r"auto_scale_lr\.rule=cubic: must be one of linear, sqrt",
    }.items():
        with pytest.raises(ConfigError, match=message):
            runner(override)


@pytest.mark.cuda
@pytest.mark.parametrize("clip", [{"max_norm": 1.0}, {"value": 0.1}, {"agc": 0.01}])
@pytest.mark.parametrize("micro", [1, 3])
def test_nothing_waits_for_the_device(clip, micro, tmp_path, config):
    settings = [f"update.grad_clip.{name}={value}" for name, value in clip.items()]
    settings += [f"update.micro_batches={micro}", "hooks=ema", "mix=both", "loss.weight=balanced"]
    cfg = config(*settings, *QUIET, "runner.device=cuda", "runner.max_iters=20")
    made = build_runner(cfg, Job(tmp_path))
    made.call("before_run")
    made.update.begin_epoch(0)
    made.call("before_train_epoch")
    batches = list(made.train_loader.batches(0))[:4]
    for made.batch in batches[:2]:  # what the first iterations set up may wait
        iterate(made)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for made.batch in batches[2:]:
            iterate(made)
    finally:
        torch.cuda.set_sync_debug_mode("default")


class Strict(Hook):
    """From the second epoch on, lets whatever waits for the GPU between an epoch's begin and its end be an error."""

    priority = Priority.LOWEST

    def before_train_epoch(self, runner) -> None:
        if runner.clock.epoch:
            torch.cuda.set_sync_debug_mode("error")

    def between_updates(self, runner) -> None:
        if runner.clock.position == runner.clock.iters_per_epoch:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["auto", "fp32", "fp16"])
def test_a_run_waits_for_the_device_only_where_it_logs_numbers(precision, tmp_path, config, monkeypatch):
    cfg = config("runner.device=cuda", "runner.max_epochs=3", f"runner.precision={precision}", "hooks.lr_curve=null")
    made = build_runner(cfg, Job(tmp_path))
    made.register_hooks([Strict()])
    read, total = set(), Sums.total

    def reading(self, name):
        if (mode := torch.cuda.get_sync_debug_mode()) != 0:
            read.add(made.clock.iter)
        torch.cuda.set_sync_debug_mode("default")
        try:
            return total(self, name)
        finally:
            torch.cuda.set_sync_debug_mode(mode)

    monkeypatch.setattr(Sums, "total", reading)
    try:
        made.run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert made.status == "completed"
    last = made.clock.max_iters - 1
    # What logs at every tenth iteration, and what looks at the loss at every fiftieth.
    assert read
    assert all(iteration % 10 == 0 or iteration == last for iteration in read), read


def iterate(runner) -> None:
    runner.call("before_train_iter")
    runner.outputs = runner.update(runner.batch)
    runner.call("after_train_iter")
    runner.clock.iter += 1


def test_an_optimizers_own_way_of_clearing_is_used():
    class Sgd(torch.optim.SGD):
        cleared = 0

        def zero_grad(self, set_to_none: bool = True) -> None:
            super().zero_grad(set_to_none)
            self.cleared += 1

    model = toy_model()
    optimizer = Sgd(model.parameters(), lr=0.1)
    toy_runner(model=model, optimizer=optimizer, max_iters=7).run()
    assert optimizer.cleared == 7


def test_gradients_of_a_group_added_in_mid_run_are_cleared():
    class Unfreeze(Hook):
        def before_train_iter(self, runner) -> None:
            if runner.clock.iter == 3:
                runner.optimizer.add_param_group({"params": [runner.model[1].bias]})

    model = toy_model()
    optimizer = torch.optim.SGD([model[1].weight], lr=0.0)
    toy_runner(Unfreeze(), seen := Gradients(), model=model, optimizer=optimizer, max_iters=8).run()
    toy_runner(single := Gradients(), lr=0.0, max_iters=8).run()
    assert seen.norms[3:] == pytest.approx(single.norms[3:])


@pytest.mark.parametrize("spelling", ["inf", ".inf", float("inf")])
def test_every_spelling_of_infinity_is_a_norm(spelling):
    run = toy_runner(update={"grad_clip": {"max_norm": 0.01, "norm_type": spelling}}, max_iters=1)
    run.run()
    largest = max(p.grad.abs().max().item() for p in run.model.parameters())
    assert largest == pytest.approx(0.01, rel=1e-3)
