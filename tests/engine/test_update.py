"""The update step: clipping, micro-batches, fp16, unused parameters."""

from __future__ import annotations

import logging
import re

import pytest
import torch
from tests.toy import toy_data, toy_runner
from torch import nn

from hookline.config.errors import ParameterError
from hookline.engine.hook import Hook, Priority
from hookline.engine.update import OptimizerHook
from hookline.hooks.train_metrics import TrainMetricsHook
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


def run(*hooks: Hook, **options):
    runner = toy_runner(TrainMetricsHook(), *hooks, **options)
    runner.run()
    return runner


def test_clipping_by_norm_bounds_the_gradient_and_logs_the_norm_before():
    free, bound = Gradients(), Gradients()
    run(OptimizerHook(), free)
    clipped = run(OptimizerHook({"max_norm": 0.2}), bound)
    assert free.norms[0] > 0.25
    assert max(bound.norms) <= 0.2 * (1 + 1e-5)
    assert clipped.history[0]["train/grad_norm"] > 0.2
    only_logged = run(OptimizerHook(log_grad_norm=True), seen := Gradients())
    first = len(seen.norms) // 2
    assert only_logged.history[0]["train/grad_norm"] == pytest.approx(sum(seen.norms[:first]) / first, rel=1e-5)
    assert seen.norms == free.norms


def test_clipping_by_value_and_by_the_largest_number():
    run(OptimizerHook({"value": 0.05}), by_value := Gradients())
    assert max(by_value.largest) == pytest.approx(0.05)
    assert max(by_value.norms) > 0.05
    run(OptimizerHook({"max_norm": 0.05, "norm_type": float("inf")}), by_norm := Gradients())
    assert max(by_norm.largest) <= 0.05 * (1 + 1e-5)


def test_adaptive_clipping_leaves_the_classifier_alone():
    free, bound = Gradients(), Gradients()
    run(OptimizerHook(), free)
    run(OptimizerHook({"agc": 1e-3}), bound)  # the linear layer is all there is, and it is the head
    assert bound.norms == free.norms
    runner = toy_runner(OptimizerHook({"agc": 1e-3}), max_iters=1)
    runner.model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 3))
    runner.optimizer = torch.optim.SGD(runner.model.parameters(), lr=0.1)
    runner.forward = runner.model
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
        OptimizerHook(clip)


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
        runner = toy_runner(
            OptimizerHook({"max_norm": 0.5}, micro_batches=micro), TrainMetricsHook(), data=toy_data(batch_size=6)
        )
        runner.loss = loss
        runner.run()
        weights.append([p.detach().double() for p in runner.model.parameters()])
        losses.append([row["train/loss"] for row in runner.history])
        assert runner.outputs["logits"].shape == (2, 3)
        assert runner.clock.iter == 8
    for whole, accumulated in zip(*weights, strict=True):
        torch.testing.assert_close(accumulated, whole, rtol=1e-5, atol=1e-6)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_without_micro_batches_the_runner_steps_by_itself():
    runner = run(OptimizerHook(), max_iters=1)
    assert runner.step == runner.train_step


def test_unused_parameters_are_named_once(caplog):
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare, self.fixed = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)
            self.fixed.requires_grad_(False)

        def forward(self, x):
            return self.used(x.flatten(1))

    runner = toy_runner(OptimizerHook(detect_unused=True))
    runner.model = runner.forward = Model()
    runner.optimizer = torch.optim.SGD(runner.model.parameters(), lr=0.1)
    with caplog.at_level(logging.WARNING, "hookline"):
        runner.run()
    (record,) = caplog.records
    assert record.message == "parameters that never got a gradient: spare.weight, spare.bias"


def test_skipped_fp16_steps_are_counted_and_told(caplog):
    class Overflow(Hook):
        priority = Priority.HIGH

        def after_train_iter(self, runner) -> None:
            if runner.iter in (1, 2):
                runner.outputs["loss"] = runner.outputs["loss"] * float("inf")

    runner = toy_runner(OptimizerHook({"max_norm": 1.0}), TrainMetricsHook(), Overflow(), precision="fp16")
    runner.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    before = [p.detach().clone() for p in runner.model.parameters()]
    with caplog.at_level(logging.INFO, "hookline"):
        runner.run()
    assert [row["train/skipped_steps"] for row in runner.history] == [2, 0]
    assert all(row["train/grad_norm"] > 0 for row in runner.history)
    assert [r.message for r in caplog.records if "skipped" in r.message] == [
        "epoch 1: 2 updates skipped, their gradients were not finite"
    ]
    assert all(
        p.isfinite().all() and not torch.equal(p, b) for p, b in zip(runner.model.parameters(), before, strict=True)
    )


def test_from_the_config(runner):
    made = runner(
        *(
            "hooks.optimizer.grad_clip.max_norm=1",
            "hooks.optimizer.micro_batches=3",
            "hooks.optimizer.detect_unused=true",
        ),
        *("runner.max_iters=2", "data.transforms.resize=null"),
    )
    made.run()
    assert made.metrics.latest["train/grad_norm"] > 0


@pytest.mark.parametrize(("rule", "factor"), [("linear", 0.25), ("sqrt", 0.5)])
def test_lr_scaled_by_batch_size_once(rule, factor, runner):
    overrides = ["auto_scale_lr.base_batch_size=256", f"auto_scale_lr.rule={rule}", "runner.max_iters=2"]
    overrides += ["data.transforms.resize=null", "lr_schedule=fixed"]
    first = runner(*overrides)
    assert first.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * factor)
    assert "base_batch_size: 256" in first.config
    assert re.search(r"^  lr: 0\.1$", first.config, flags=re.MULTILINE)
    first.run()
    second = runner(*overrides)
    second.load_state_dict(first.state_dict())
    second.call("before_run")
    second.call("before_train_epoch")
    second.call("before_train_iter")
    assert second.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * factor)


def test_lr_is_not_scaled_by_default_and_wrong_scaling_is_told(runner):
    assert runner().optimizer.param_groups[0]["lr"] == 0.1
    for override, message in {
        "auto_scale_lr.base_batch_size=0": r"auto_scale_lr\.base_batch_size=0: must be an integer > 0",
        "auto_scale_lr.rule=cubic": r"auto_scale_lr\.rule=cubic: must be one of linear, sqrt",
    }.items():
        with pytest.raises(Exception, match=message):
            runner(override)


@pytest.mark.cuda
@pytest.mark.parametrize("clip", [{"max_norm": 1.0}, {"value": 0.1}, {"agc": 0.01}])
@pytest.mark.parametrize("micro", [1, 3])
def test_nothing_waits_for_the_device(clip, micro, tmp_path, config):
    from hookline.experiment import build_runner

    quiet = [f"hooks.{name}=null" for name in ("metrics_csv", "checkpoint", "tensorboard", "lr_curve", "text")]
    settings = [f"hooks.optimizer.grad_clip.{name}={value}" for name, value in clip.items()]
    settings += [f"hooks.optimizer.micro_batches={micro}", "hooks=ema", "mix=both", "loss.weight=balanced"]
    made = build_runner(config(*quiet, *settings, "runner.device=cuda", "runner.max_iters=20"), tmp_path)
    made.call("before_run")
    made.model.train()
    made.call("before_train_epoch")
    batches = list(made.data.train_loader)[:4]
    for made.batch in batches[:2]:  # what the first iterations set up may wait
        iterate(made)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for made.batch in batches[2:]:
            iterate(made)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def iterate(runner) -> None:
    runner.call("before_train_iter")
    runner.outputs = runner.step(runner.batch)
    runner.call("after_train_iter")
    runner.clock.iter += 1


def test_an_optimizers_own_way_of_clearing_is_used():
    class Sgd(torch.optim.SGD):
        cleared = 0

        def zero_grad(self, set_to_none: bool = True) -> None:
            super().zero_grad(set_to_none)
            self.cleared += 1

    runner = toy_runner(OptimizerHook(), max_iters=7)
    runner.optimizer = Sgd(runner.model.parameters(), lr=0.1)
    runner.run()
    assert runner.optimizer.cleared == 7


def test_gradients_of_a_group_added_in_mid_run_are_cleared():
    class Unfreeze(Hook):
        def before_train_iter(self, runner) -> None:
            if runner.iter == 3:
                runner.optimizer.add_param_group({"params": [runner.model[1].bias]})

    runner = toy_runner(OptimizerHook(), Unfreeze(), seen := Gradients(), max_iters=8)
    runner.optimizer = torch.optim.SGD([runner.model[1].weight], lr=0.0)
    runner.run()
    per_batch = toy_runner(OptimizerHook(), single := Gradients(), lr=0.0, max_iters=8)
    per_batch.run()
    assert seen.norms[3:] == pytest.approx(single.norms[3:])
