"""Where the first NaN comes from: debug=nan."""

from __future__ import annotations

import pytest
import torch
from tests.toy import toy_runner
from torch import nn

from hookline.hooks import Hook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.first_nonfinite import FirstNonFiniteHook


class Forward(nn.Module):
    """Gives NaN once it is told to."""

    bad = False

    def forward(self, x):
        return x * float("nan") if self.bad else x


class Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 0 if Bad.bad else gradient


class Bad(nn.Module):
    """Gives infinite gradients once it is told to."""

    bad = False

    def forward(self, x):
        return Backward.apply(x)


class From(Hook):
    """Makes something go wrong in an iteration."""

    def __init__(self, iteration: int, act) -> None:
        self.iteration, self.act = iteration, act

    def before_train_iter(self, runner):
        if runner.clock.iter == self.iteration:
            self.act(runner)


def model(*parts: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(inplace=True), *parts, nn.Linear(8, 3))


def reason_of(act, network: nn.Module, **options) -> tuple[int, str]:
    runner = toy_runner(From(3, act), FirstNonFiniteHook(), model=network, **options)
    runner.run()
    assert runner.status == "diverged"
    return runner.clock.iter, runner.stop_reason


def test_a_modules_output():
    network = model(Forward())
    found = reason_of(lambda runner: setattr(network[3], "bad", True), network)
    assert found == (4, "not finite: the output of 3 (Forward) in the forward pass")


def test_weights_that_are_broken_are_not_validated():
    runner = toy_runner(From(3, spoil), EvaluationHook(), FirstNonFiniteHook(), model=model())
    runner.run()
    assert (runner.status, runner.clock.iter) == ("diverged", 4)
    assert not any(name.startswith("val/") for row in runner.history for name in row)


def spoil(runner):
    runner.batch.images[0] = torch.nan


def test_the_images():
    assert reason_of(spoil, model())[1] == "not finite: the images that go into the model"


def test_a_modules_backward_pass(monkeypatch):
    told = reason_of(lambda runner: monkeypatch.setattr(Bad, "bad", True), model(nn.Linear(8, 8), Bad()))[1]
    assert told == "not finite: the gradient that comes, in the backward pass, from 4 (Bad), of its input"


def test_the_loss():
    class Loss(nn.CrossEntropyLoss):
        bad = False

        def forward(self, logits, targets):
            return super().forward(logits, targets) * (torch.inf if self.bad else 1)

    loss = Loss()
    told = reason_of(lambda runner: setattr(loss, "bad", True), model(), loss=loss)[1]
    assert told == "not finite: the loss, Loss, of logits that are finite"


def test_the_step(caplog):
    class Leaps(torch.optim.SGD):
        def step(self, closure=None):
            super().step()
            if leaps:
                self.param_groups[0]["params"][0].data.fill_(torch.inf)

    leaps: list[bool] = []
    network = model()
    optimizer = Leaps(network.parameters(), lr=0.25)
    told = reason_of(lambda runner: leaps.append(True), network, optimizer=optimizer)[1]
    assert told == "not finite: 1.weight after the step of Leaps with a learning rate of 0.25"
    assert "its gradient is at most" in caplog.text


def test_all_is_finite_and_the_weights_are_those_of_a_run_without_it():
    plain, watched = toy_runner(model=model()), toy_runner(FirstNonFiniteHook(), model=model())
    plain.run()
    watched.run()
    assert watched.status == "completed"
    for one, other in zip(plain.model.parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_a_scaler_skips_is_no_fault(monkeypatch):
    hooks = [From(3, lambda runner: monkeypatch.setattr(Bad, "bad", True)), FirstNonFiniteHook()]
    hooks.append(From(4, lambda runner: monkeypatch.setattr(Bad, "bad", False)))
    runner = toy_runner(*hooks, model=model(Bad()), update={"skip_nonfinite": True})
    runner.run()
    assert runner.status == "completed"


def test_a_model_that_begins_with_nan_is_named_before_the_run(train):
    finished = train("debug=nan", "model._target_=tests.hooks.test_first_nonfinite.begins_with_nan", "checkpoint=none")
    assert finished.status == 2
    assert "the first of them are in the output of 4 (Forward) in the forward pass" in finished.out + finished.err


def begins_with_nan(num_classes: int, in_chans: int, **options) -> nn.Module:
    network = nn.Sequential(nn.Conv2d(in_chans, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.ReLU(), Forward())
    network[4].bad = True
    network.append(nn.Linear(8, num_classes))
    return network


@pytest.mark.parametrize("option", ["smoke", "overfit", "nan"])
def test_debugging_by_one_word(train, option):
    finished = train(
        f"debug={option}", "data.batch_size=16", "data.val_batch_size=16", *["runner.max_iters=6"] * (option == "nan")
    )
    assert finished.status == 0, finished.err
    result = finished.result
    if option == "smoke":
        assert result["iterations"] == 2
        assert result["status"] == "completed"
        assert "val/top1" in result["final"]
        assert (finished.run_dir / "checkpoints" / "last.pt").exists()
    elif option == "overfit":
        assert result["status"] == "stopped"
        assert result["reason"].startswith("the batch is learnt: cross-entropy 0.00")
    else:
        assert "every number was finite" in finished.out
    assert "waiting for data: " in finished.out


def test_a_batch_that_cannot_be_learnt_is_told(train):
    finished = train("debug=overfit", "optimizer.lr=1e-9", "runner.max_iters=3", "data.batch_size=16", "mix=both")
    assert finished.status == 0
    assert "one batch: its cross-entropy is still 2." in finished.out
