"""The running average of the weights."""

from __future__ import annotations

import pytest
import torch
from tests.toy import toy_loader, toy_runner

from hookline.config.errors import ParameterError
from hookline.hooks import Hook, Priority
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
    return hook.model[1].weight


def test_average_is_the_formula():
    hook, weights = EMAHook(decay=0.9), Weights()
    runner = toy_runner(weights, hook)
    expected = runner.model[1].weight.detach().clone()
    runner.run()
    for weight in weights.seen:
        expected = 0.9 * expected + 0.1 * weight
    torch.testing.assert_close(average(hook), expected)


def test_start_interval_and_warmup():
    hook, weights = EMAHook(decay=0.9, start=4, interval=2), Weights()
    toy_runner(weights, hook).run()
    expected = weights.seen[3]
    for weight in weights.seen[5::2]:
        expected = 0.9 * expected + 0.1 * weight
    torch.testing.assert_close(average(hook), expected)

    # Until the start the average is the weights, whatever the interval.
    hook, weights = EMAHook(decay=0.9, start=3, interval=2), Weights()
    toy_runner(weights, hook, max_iters=4).run()
    torch.testing.assert_close(average(hook), 0.9 * weights.seen[2] + 0.1 * weights.seen[3])

    hook, weights = EMAHook(decay=0.6, warmup=True, warmup_gamma=1.0, warmup_power=0.5), Weights()
    runner = toy_runner(weights, hook)
    expected = runner.model[1].weight.detach().clone()
    runner.run()
    for n, weight in enumerate(weights.seen, start=1):
        decay = min(0.6, 1 - (1 + n) ** -0.5)
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(average(hook), expected)


@pytest.mark.parametrize("monitor", ["val/loss", "val_ema/loss"])
def test_both_weights_are_evaluated_and_reported(monitor):
    hook = EMAHook(decay=0.9)
    hook.name = "ema"
    runner = toy_runner(TrainMetricsHook(), EvaluationHook(), hook, lr=0.5, monitor=monitor)
    runner.run()
    row = runner.history[-1]
    batch = next(toy_loader(batch_size=20).batches(0))
    with torch.no_grad():
        for name, model in (("val", runner.model), ("val_ema", hook.model)):
            top1 = 100 * (model(batch.images).argmax(1) == batch.targets).float().mean().item()
            assert row[f"{name}/top1"] == pytest.approx(top1, abs=1e-3)
    assert row["val/loss"] != row["val_ema/loss"]
    assert {"val/top1", "val_ema/top1"} <= set(runner.best)
    assert runner.best[monitor] == min(r[monitor] for r in runner.history)
    assert runner.mode == "train"
    assert runner.model.training


def test_two_averages_are_evaluated_under_their_names():
    hooks = [EMAHook(decay=decay) for decay in (0.5, 0.9)]
    for hook, name in zip(hooks, ("fast", "slow"), strict=True):
        hook.name = name
    runner = toy_runner(EvaluationHook(), *hooks, lr=0.5)
    runner.run()
    losses = [runner.history[-1][f"{name}/loss"] for name in ("val", "val_fast", "val_slow")]
    assert len(set(losses)) == 3


def test_without_evaluation_of_the_average():
    runner = toy_runner(EvaluationHook(), EMAHook(evaluate=False))
    runner.run()
    assert not any(name.startswith("val_") for row in runner.history for name in row)


def test_saved_and_restored():
    runner = toy_runner(first := EMAHook(decay=0.9), max_iters=5)
    runner.run()
    state = runner.state_dict()["parts"]["hooks.ema"]
    other = toy_runner(second := EMAHook(decay=0.9), lr=0.3)
    other.call("before_run")
    second.load_state_dict(state)
    assert torch.equal(average(second), average(first))


def test_interrupted_runs_have_the_same_average():
    whole = toy_runner(expected := EMAHook(decay=0.9))
    whole.run()
    half = toy_runner(EMAHook(decay=0.9), max_iters=7)
    half.run()
    rest = toy_runner(got := EMAHook(decay=0.9))
    rest.run(half.state_dict())
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
    assert {"val/top1", "val_ema/top1"} <= set(made.history[-1])
