"""Metrics against what one computes by hand."""

from __future__ import annotations

import math

import pytest
import torch

from hookline.config.errors import ParameterError
from hookline.data import Batch
from hookline.metrics import CrossEntropyLoss, Metric, TopK

# Three classes; the label of sample i is its i-th guess, counted from 0.
LOGITS = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [0.0, 5.0, 9.0]])
TARGETS = torch.tensor([0, 1, 2, 2])
LOSSES = [math.log(sum(math.exp(z) for z in row)) - row[t] for row, t in zip(LOGITS.tolist(), TARGETS, strict=True)]


def measure(metric: Metric, logits=LOGITS, targets=TARGETS, weights=None, size: int = 4) -> float:
    """Return the metric's one number for these samples, given to it in batches of `size`."""
    metric.reset()
    indices = torch.arange(len(targets))
    for part in Batch(logits, targets, indices, weights).split(-(-len(targets) // size)):
        metric.update({"logits": part.images}, part)
    (value,) = metric.compute().values()
    return value


@pytest.mark.parametrize("size", [1, 3, 4])
@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (CrossEntropyLoss(), sum(LOSSES) / 4),
        (TopK(), 50.0),
        (TopK(2), 75.0),
        (TopK(3), 100.0),
        (TopK(5), 100.0),  # there are three classes: every sample's label is among them
    ],
)
def test_means_by_hand_whatever_the_batches(metric, expected, size):
    assert measure(metric, size=size) == pytest.approx(expected, rel=1e-6)


def test_names():
    assert list(CrossEntropyLoss().compute()) == ["loss"]
    assert [list(TopK(k).compute()) for k in (1, 5)] == [["top1"], ["top5"]]


WEIGHTS = torch.tensor([1.0, 0.5, 0.0, 2.0])


@pytest.mark.parametrize("size", [1, 4])
def test_weighted_means_by_hand(size):
    loss = (LOSSES[0] + 0.5 * LOSSES[1] + 2 * LOSSES[3]) / 3.5
    assert measure(CrossEntropyLoss(), weights=WEIGHTS, size=size) == pytest.approx(loss, rel=1e-6)
    assert measure(TopK(), weights=WEIGHTS, size=size) == pytest.approx(100 * 3 / 3.5)


@pytest.mark.parametrize("metric", [CrossEntropyLoss(), TopK()])
@pytest.mark.parametrize("filling", [0.0, float("nan"), float("inf"), -1e30])
def test_a_sample_of_no_weight_counts_for_nothing_whatever_it_holds(metric, filling):
    padded = torch.cat([LOGITS, torch.tensor([[filling, -1e30, -1e30]])])
    weights = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0])
    got = measure(metric, padded, torch.cat([TARGETS, TARGETS[1:2]]), weights, size=5)
    assert got == pytest.approx(measure(metric), rel=1e-6)


@pytest.mark.parametrize("metric", [CrossEntropyLoss(), TopK()])
def test_nothing_has_no_mean(metric):
    assert math.isnan(next(iter(metric.compute().values())))
    assert math.isnan(measure(metric, weights=torch.zeros(4)))


def test_half_precision_logits_are_summed_in_double():
    # A float16 sum would stop at 2048.
    logits, targets = torch.zeros(5000, 2, dtype=torch.float16), torch.zeros(5000, dtype=torch.long)
    assert measure(CrossEntropyLoss(), logits, targets) == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize("k", [0, -1, 1.5, "1"])
def test_wrong_k(k):
    with pytest.raises(ParameterError, match="k="):
        TopK(k)
