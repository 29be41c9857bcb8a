"""Evaluation, the history that it goes to, and which of its rows is best."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from tests.toy import toy_loader, toy_model, toy_runner
from torch import Tensor, nn

from hookline.config.errors import ParameterError
from hookline.data import Batch
from hookline.engine import evaluate
from hookline.engine.forward import evaluating
from hookline.hooks import Hook
from hookline.hooks.evaluation import EvaluationHook
from hookline.metrics import CrossEntropyLoss, TopK
from hookline.metrics.metric import Labelled

METRICS = [CrossEntropyLoss(), TopK(1), TopK(2)]


class Batches:
    """Some batches, which is all that an evaluation needs."""

    def __init__(self, *batches: Batch) -> None:
        self.given = batches

    def batches(self, epoch: int):
        yield from self.given


def batch_of(images: Tensor, targets: list[int], weights: list[float] | None = None) -> Batch:
    return Batch(
        images,
        torch.tensor(targets),
        torch.arange(len(targets)),
        None if weights is None else torch.tensor(weights),
    )


def test_a_forward_function_a_loader_and_metrics_are_enough():
    whole = next(toy_loader(samples=20, batch_size=20).batches(0))
    projection = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    got = evaluate(lambda images: images.flatten(1) @ projection, toy_loader(batch_size=7), METRICS)
    logits = whole.images.flatten(1) @ projection
    order = logits.argsort(1, descending=True)
    rank = (order == whole.targets.view(-1, 1)).int().argmax(1)
    assert list(got) == ["loss", "top1", "top2"]
    assert got["loss"] == pytest.approx(nn.functional.cross_entropy(logits, whole.targets).item(), rel=1e-5)
    assert got["top1"] == pytest.approx(100 * (rank == 0).float().mean().item(), rel=1e-5)
    assert got["top2"] == pytest.approx(100 * (rank < 2).float().mean().item(), rel=1e-5)


def test_weights_of_zero_count_for_nothing():
    images = torch.eye(3).repeat(2, 1)
    plain = Batches(batch_of(images[:4], [0, 1, 0, 0]))
    padded = Batches(
        batch_of(images[:3], [0, 1, 0], [1.0, 1.0, 1.0]),
        batch_of(torch.stack([images[3], images[3] * float("nan"), images[4]]), [0, 0, 0], [1.0, 0.0, 0.0]),
    )
    expected = evaluate(lambda images: images, plain, METRICS)
    assert expected["top1"] == 75
    assert evaluate(lambda images: images, padded, METRICS) == pytest.approx(expected)


def test_metrics_begin_anew_and_no_gradients_are_kept():
    seen = []

    class Graph:
        def reset(self) -> None:
            seen.clear()

        def update(self, outputs: Mapping[str, Tensor], batch: Labelled) -> None:
            seen.append(outputs["logits"].requires_grad)

        def compute(self) -> dict[str, float]:
            return {"batches": float(len(seen))}

    results = [evaluate(toy_model(), toy_loader(), [Graph(), TopK()]) for _ in range(2)]
    assert results[0] == results[1]
    assert results[0]["batches"] == 5
    assert seen == [False] * 5


def test_evaluating_leaves_each_module_in_its_own_mode():
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1), nn.Dropout())
    model[1].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model] == [True, False, True]


def test_another_model_is_evaluated_under_another_name():
    runner = toy_runner()
    other = toy_model()
    nn.init.zeros_(other[1].weight)
    nn.init.zeros_(other[1].bias)
    got = runner.evaluate(other, "val_zero")
    assert got["val_zero/loss"] == pytest.approx(math.log(3))
    assert set(got) == {"val_zero/loss", "val_zero/top1", "val_zero/top5"}
    assert runner.evaluate()["val/loss"] != got["val_zero/loss"]


def test_without_a_validation_set():
    runner = toy_runner()
    runner.val_loader = None
    with pytest.raises(RuntimeError, match="no validation set"):
        runner.evaluate()


def test_evaluations_are_recorded_without_any_other_hook():
    runner = toy_runner(EvaluationHook())
    runner.run()
    assert [set(row) for row in runner.history] == [{"epoch", "iterations", "val/loss", "val/top1", "val/top5"}] * 2
    assert [(row["epoch"], row["iterations"]) for row in runner.history] == [(1, 5), (2, 10)]
    assert runner.best in runner.history


class Planned(Hook):
    """Logs these values under a name, one an epoch; None logs nothing."""

    def __init__(self, name: str, *values: float | None) -> None:
        self.number = name
        self.values = values

    def after_train_epoch(self, runner):
        value = self.values[runner.clock.epoch]
        if value is not None:
            runner.log({self.number: value})


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("number", "mode", "values", "best"),
    [
        ("val/loss", None, [3.0, 1.0, 2.0], 2),
        ("mine/error", None, [3.0, 1.0, 2.0], 2),
        ("calibration/ece", None, [3.0, 1.0, 2.0], 2),
        ("mine/accuracy", None, [1.0, 3.0, 2.0], 2),
        ("val_slow/top5", None, [1.0, 3.0, 2.0], 2),
        ("mine/f1", None, [1.0, 3.0, 2.0], 2),
        ("seconds", "min", [3.0, 1.0, 2.0], 2),
        ("sharpe", "max", [1.0, 3.0, 2.0], 2),
        ("val/loss", "max", [1.0, 3.0, 2.0], 2),
        ("val/top1", None, [2.0, 2.0, 2.0], 1),  # an equal one is not better
        ("val/loss", None, [NAN, 3.0, NAN], 2),
        ("val/top1", None, [NAN, 3.0, NAN], 2),
        ("val/top1", None, [1.0, INF, 0.5], 1),
        ("val/loss", None, [None, 2.0, None], 2),
        ("val/loss", None, [NAN, NAN, None], None),
    ],
)
def test_any_number_of_the_history_decides_which_row_is_best(number, mode, values, best):
    runner = toy_runner(Planned(number, *values), max_epochs=3, monitor=number, mode=mode)
    runner.run()
    assert runner.best == ({} if best is None else runner.history[best - 1])


def test_what_a_hook_logs_in_mid_epoch_can_be_best():
    class Log(Hook):
        def after_train_iter(self, runner):
            if runner.clock.due(3):
                runner.log({"mine/score": -abs(runner.clock.iter - 6)})

    runner = toy_runner(Log(), monitor="mine/score", mode="max")
    runner.run()
    assert runner.best == {"epoch": pytest.approx(7 / 5), "iterations": 7, "mine/score": 0}


def test_a_direction_that_nobody_gave_is_asked_for():
    with pytest.raises(ParameterError, match="mode=None: must be min or max: the name seconds does not say"):
        toy_runner(monitor="seconds")
    with pytest.raises(ParameterError, match="mode='up': must be one of min, max"):
        toy_runner(mode="up")
