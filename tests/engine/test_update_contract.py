"""A hook has the same effect whatever the options of the update, and micro-batches have the whole batch's gradient."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.toy import timeless, toy_loader, toy_model, toy_runner
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hookline.data import Batch
from hookline.engine import Forward, Runner, Update
from hookline.engine.hook import STAGES
from hookline.hooks import Hook, Priority
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.losses import CrossEntropy, Focal

PARTS = [1, 2, 4]
WEIGHT = [1.0, 5.0, 0.2]


class ChangeLoss(Hook):
    """Trains on another loss, and keeps the one that each update reports."""

    priority = Priority.HIGH

    def __init__(self, change: Callable[[Runner], Tensor]) -> None:
        self.change = change
        self.reported: list[float] = []

    def before_backward(self, runner):
        runner.outputs["loss"] = self.change(runner)

    def after_train_iter(self, runner):
        self.reported.append(runner.outputs["loss"].item())


def own_loss(runner: Runner) -> Tensor:
    return cross_entropy(runner.outputs["logits"], runner.batch.targets, label_smoothing=0.3)


CHANGES = {
    "zero": lambda runner: runner.outputs["loss"] * 0.0,
    "scale": lambda runner: runner.outputs["loss"] * 0.3,
    "penalty": lambda runner: runner.outputs["loss"] + 0.1 * runner.model[1].weight.square().sum(),
    "own": own_loss,
}
LOSSES = {
    "mean": nn.CrossEntropyLoss(),
    "sum": nn.CrossEntropyLoss(reduction="sum"),
    "torch-weighted": nn.CrossEntropyLoss(weight=torch.tensor(WEIGHT)),
    "weighted": CrossEntropy(weight=WEIGHT),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_loss_has_the_same_effect_in_micro_batches(change, loss):
    weights, reported = {}, {}
    for parts in PARTS:
        # The last batch has 2 samples, fewer than some of the parts.
        hook = ChangeLoss(CHANGES[change])
        runner = toy_runner(hook, loss=LOSSES[loss], batch_size=6, lr=0.02, update={"micro_batches": parts})
        runner.run()
        weights[parts] = runner.model[1].weight.detach()
        reported[parts] = hook.reported
    assert torch.equal(weights[1], toy_model()[1].weight) == (change == "zero")
    for parts in PARTS[1:]:
        torch.testing.assert_close(weights[parts], weights[1], rtol=1e-4, atol=1e-6)
        assert reported[parts] == pytest.approx(reported[1], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("parts", PARTS)
def test_a_hook_before_the_backward_pass_sees_the_samples_of_its_logits(parts):
    seen, whole = [], []

    class Look(Hook):
        def before_backward(self, runner):
            assert torch.equal(runner.model(runner.batch.images), runner.outputs["logits"])
            seen.extend(runner.batch.indices.tolist())

        def after_train_iter(self, runner):
            whole.extend(runner.batch.indices.tolist())

    toy_runner(Look(), batch_size=6, update={"micro_batches": parts}).run()
    assert seen == whole


@pytest.mark.parametrize("parts", PARTS)
def test_a_number_that_a_hook_adds_is_averaged_over_the_samples(parts):
    class Measure(Hook):
        def before_backward(self, runner):
            runner.outputs["brightness"] = runner.batch.images.mean()

    runner = toy_runner(Measure(), TrainMetricsHook(), lr=0.0, max_epochs=1, update={"micro_batches": parts})
    runner.run()
    images = next(toy_loader(batch_size=20).batches(0)).images
    assert runner.history[0]["train/brightness"] == pytest.approx(images.mean().item(), rel=1e-5)


@pytest.mark.parametrize("parts", PARTS)
def test_a_number_may_be_a_float_and_be_there_for_some_parts_only(parts):
    class Measure(Hook):
        def before_backward(self, runner):
            if 0 in runner.batch.indices:
                runner.outputs["share"] = 0.5

    runner = toy_runner(Measure(), TrainMetricsHook(), max_epochs=1, update={"micro_batches": parts})
    runner.run()
    assert runner.history[0]["train/share"] == pytest.approx(0.5)


@pytest.mark.parametrize("parts", PARTS)
def test_a_hook_may_put_other_outputs_in_place(parts):
    class Replace(Hook):
        def before_backward(self, runner):
            runner.outputs = {**runner.outputs, "loss": runner.outputs["loss"] * 0.0}

    runner = toy_runner(Replace(), update={"micro_batches": parts})
    runner.run()
    assert torch.equal(runner.model[1].weight, toy_model()[1].weight)


def test_what_hooks_draw_does_not_change_a_validation_with_dropout():
    class MonteCarlo(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = toy_model()

        def forward(self, images):
            return nn.functional.dropout(self.layers(images), 0.5, training=True)

    class Draw(Hook):
        def before_val_epoch(self, runner):
            torch.rand(3)

        before_val_iter = after_val_iter = before_val_epoch

    plain, drawing = (toy_runner(EvaluationHook(), *hooks, model=MonteCarlo()) for hooks in ([], [Draw()]))
    plain.run()
    drawing.run()
    assert drawing.history == plain.history
    assert plain.history[0]["val/loss"] != plain.history[1]["val/loss"]


def test_freezing_and_mixing_are_no_hooks(runner, config):
    shown = {"logger", "evaluation", *config().hooks} - {"lr_curve", "text"}
    made = runner("freeze=backbone", "freeze.epochs=1", "mix=both")
    assert {hook.name for hook in made.hooks} == shown
    assert made.update.freeze is not None
    made.run()
    assert made.batch.targets.ndim == 2


ALL_LOSSES = LOSSES | {"smooth": CrossEntropy(weight=WEIGHT, label_smoothing=0.1), "focal": Focal(weight=WEIGHT)}


@pytest.mark.parametrize("parts", [2, 4, 12])
@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_micro_batches_give_the_gradient_of_the_whole_batch(loss, parts):
    expected, got = update_once(ALL_LOSSES[loss], 1), update_once(ALL_LOSSES[loss], parts)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def smoothed(weight: list[float]) -> nn.Module:
    return CrossEntropy(weight=weight, label_smoothing=0.3)


def of_torch(weight: list[float]) -> nn.Module:
    return nn.CrossEntropyLoss(torch.tensor(weight))


def without_a_class(weight: list[float]) -> nn.Module:
    return nn.CrossEntropyLoss(torch.tensor(weight), ignore_index=2, label_smoothing=0.1)


@pytest.mark.parametrize("kind", [CrossEntropy, Focal, smoothed, of_torch, without_a_class])
@pytest.mark.parametrize("parts", [2, 3, 12])
def test_a_micro_batch_of_no_weight_counts_for_nothing(kind, parts):
    # The labels are in order, so that whole micro-batches are of the class without weight.
    loss, labels = kind(weight=[0.0, 1.0, 3.0]), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 1, 2])
    expected, got = update_once(loss, 1, labels), update_once(loss, parts, labels)
    assert all(value.isfinite().all() for value in expected)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_hooks_own_loss_counts_in_a_micro_batch_of_no_weight():
    loss, labels = CrossEntropy(weight=[0.0, 1.0, 3.0]), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 1, 2])

    def change(outputs: dict[str, Tensor], *others: object) -> None:
        outputs["loss"] = outputs["logits"].square().mean()

    expected, got = update_once(loss, 1, labels, change), update_once(loss, 2, labels, change)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def update_once(loss, parts: int, labels: Tensor | None = None, change: Callable | None = None) -> list[Tensor]:
    """Return the loss, the logits and the gradients of one update."""
    model = toy_model()
    update = Update(
        forward=Forward(model),
        loss=loss,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        micro_batches=parts,
    )
    batch = next(toy_loader(samples=12, batch_size=12).batches(0))
    if labels is not None:
        batch = Batch(batch.images, labels, batch.indices)
    outputs = update(batch, change)
    return [outputs["loss"].detach(), outputs["logits"].detach(), *[p.grad for p in model.parameters()]]


def draw(hook: Hook, runner: Runner) -> None:
    """Draw from every generator."""
    torch.rand(3)
    torch.randperm(5)
    random.random()
    np.random.rand(2)


Draws = type("Draws", (Hook,), dict.fromkeys(STAGES, draw))


@pytest.mark.parametrize("parts", PARTS)
def test_a_hook_that_draws_random_numbers_does_not_change_the_run(parts):
    runs = []
    for hooks in ([], [Draws()]):
        model = toy_model().insert(1, nn.Dropout(0.3))
        runner = toy_runner(*hooks, TrainMetricsHook(), EvaluationHook(), model=model, update={"micro_batches": parts})
        runner.run()
        runs.append(runner)
    assert torch.equal(runs[0].model[2].weight, runs[1].model[2].weight)
    histories = [[timeless(row) for row in runner.history] for runner in runs]
    assert histories[0] == histories[1]
