"""The running average of the weights."""

from __future__ import annotations

import pytest
import torch
from tests.toy import toy_runner

from hookline.config.errors import ParameterError
from hookline.engine.hook import Hook, Priority
from hookline.engine.update import OptimizerHook
from hookline.hooks.ema import EMAHook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.train_metrics import TrainMetricsHook


class Weights(Hook):
    """Keep the weights after each update."""

    priority = Priority.NORMAL

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def after_train_iter(self, runner) -> None:
        self.seen.append(runner.model[1].weight.detach().clone())


def average(hook: EMAHook) -> torch.Tensor:
    assert hook.ema is not None
    return hook.ema.module[1].weight


def test_average_is_the_formula():
    hook, weights = EMAHook(decay=0.9), Weights()
    runner = toy_runner(OptimizerHook(), weights, hook)
    expected = runner.model[1].weight.detach().clone()
    runner.run()
    for weight in weights.seen:
        expected = 0.9 * expected + 0.1 * weight
    torch.testing.assert_close(average(hook), expected)


def test_start_interval_and_warmup():
    hook, weights = EMAHook(decay=0.9, start=4, interval=2), Weights()
    toy_runner(OptimizerHook(), weights, hook).run()
    expected = weights.seen[3]
    for weight in weights.seen[5::2]:
        expected = 0.9 * expected + 0.1 * weight
    torch.testing.assert_close(average(hook), expected)

    hook, weights = EMAHook(decay=0.6, warmup=True, warmup_gamma=1.0, warmup_power=0.5), Weights()
    runner = toy_runner(OptimizerHook(), weights, hook)
    expected = runner.model[1].weight.detach().clone()
    runner.run()
    for n, weight in enumerate(weights.seen, start=1):
        decay = min(0.6, 1 - (1 + n) ** -0.5)
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(average(hook), expected)


@pytest.mark.parametrize("monitor", ["val/loss", "val_ema/loss"])
def test_both_weights_are_evaluated_and_reported(monitor):
    hook = EMAHook(decay=0.9)
    runner = toy_runner(OptimizerHook(), TrainMetricsHook(), EvaluationHook(monitor=monitor, rule="min"), hook, lr=0.5)
    runner.run()
    row = runner.history[-1]
    images, labels = next(iter(runner.data.val_loader))
    batches = list(runner.data.val_loader)
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    with torch.no_grad():
        for name, model in (("val", runner.model), ("val_ema", hook.ema)):
            assert model is not None
            top1 = 100 * (model(images).argmax(1) == labels).float().mean().item()
            assert row[f"{name}/top1"] == pytest.approx(top1, abs=1e-3)
    assert row["val/loss"] != row["val_ema/loss"]
    assert {"val/top1", "val_ema/top1"} <= set(runner.best)
    assert runner.best[monitor] == min(r[monitor] for r in runner.history)
    assert runner.mode == "train"
    assert runner.model.training


def test_saved_and_restored():
    runner = toy_runner(OptimizerHook(), first := EMAHook(decay=0.9), max_iters=5)
    runner.run()
    state = runner.state_dict()["hooks"]["EMAHook"]
    for when in ("before", "after"):
        other = toy_runner(OptimizerHook(), second := EMAHook(decay=0.9), lr=0.3)
        if when == "before":
            second.load_state_dict(state)
        other.call("before_run")
        if when == "after":
            second.load_state_dict(state)
        assert torch.equal(average(second), average(first))


def test_interrupted_runs_have_the_same_average():
    whole = toy_runner(OptimizerHook(), expected := EMAHook(decay=0.9))
    whole.run()
    half = toy_runner(OptimizerHook(), EMAHook(decay=0.9))
    half.call("before_run")
    half.train_epoch()
    rest = toy_runner(OptimizerHook(), got := EMAHook(decay=0.9))
    rest.load_state_dict(half.state_dict())
    rest.run()
    assert torch.equal(average(got), average(expected))


@pytest.mark.parametrize(
    "wrong", [{"decay": 1.0}, {"decay": -0.1}, {"interval": 0}, {"start": -1}, {"warmup_power": 0}]
)
def test_wrong_settings(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        EMAHook(**wrong)


def test_from_the_config(runner):
    made = runner("hooks=ema", "runner.max_iters=2", "data.transforms.resize=null", "hooks.ema.decay=0.5")
    made.run()
    assert {"val/top1", "val_ema/top1"} <= set(made.metrics.latest)
