"""Numbers of all samples together, their intervals, and the comparison of two models."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from hookline.config.errors import ParameterError
from hookline.data import Batch
from hookline.engine.tta import Averaged
from hookline.metrics import CrossEntropyLoss, Samples, Scores, TopK
from hookline.metrics.intervals import bootstrap, mcnemar, paired_interval
from hookline.metrics.scores import NUMBERS, headline


def samples_of(count=300, classes=6, seed=0, signal=1.5) -> Samples:
    random = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (count,), generator=random)
    logits = torch.randn(count, classes, generator=random)
    logits[torch.arange(count), targets] += signal
    return Samples((4 * logits).round() / 4, targets, torch.arange(count))  # rounded: there are ties


def test_the_numbers_are_those_of_scikit_learn():
    samples = samples_of()
    found, y, p = headline(samples), samples.labels, samples.probabilities
    said = samples.predicted
    one_hot = np.eye(6)[y]
    assert found["f1"] == pytest.approx(100 * reference.f1_score(y, said, average="macro"))
    assert found["recall"] == pytest.approx(100 * reference.balanced_accuracy_score(y, said))
    assert found["map"] == pytest.approx(100 * reference.average_precision_score(one_hot, p, average="macro"))
    assert found["auroc"] == pytest.approx(100 * reference.roc_auc_score(y, p, multi_class="ovr"))
    assert found["mcc"] == pytest.approx(reference.matthews_corrcoef(y, said))
    assert found["loss"] == pytest.approx(reference.log_loss(y, p))
    assert found["brier_error"] == pytest.approx(((p - one_hot) ** 2).sum(axis=1).mean())


def test_ece_of_a_case_by_hand():
    # Two of four are right at a confidence of 0.9, and one of one at 0.6.
    logit = math.log(9)
    logits = torch.tensor([[logit, 0]] * 4 + [[math.log(1.5), 0]])
    samples = Samples(logits, torch.tensor([0, 0, 1, 1, 0]), torch.arange(5))
    assert headline(samples, ["ece"])["ece"] == pytest.approx(100 * (4 * 0.4 + 0.4) / 5)


def test_a_metric_of_training_gives_the_same_in_batches_and_leaves_out_weight_0():
    samples = samples_of()
    metric = Scores(list(NUMBERS))
    plain = [TopK(1), TopK(5), CrossEntropyLoss()]
    for part in torch.arange(300).split(64):
        logits = torch.cat([samples.logits[part], torch.full((1, 6), math.nan)])
        targets = torch.cat([samples.targets[part], torch.zeros(1, dtype=torch.long)])
        weights = torch.ones(len(targets))
        weights[-1] = 0
        batch = Batch(logits, targets, torch.arange(len(targets)), weights)
        for each in (metric, *plain):
            each.update({"logits": logits}, batch)
    assert metric.compute() == headline(samples)
    assert metric.compute()["top1"] == plain[0].compute()["top1"]
    assert metric.compute()["top5"] == plain[1].compute()["top5"]
    assert metric.compute()["loss"] == pytest.approx(plain[2].compute()["loss"])
    metric.reset()
    assert all(math.isnan(value) for value in metric.compute().values())


@pytest.mark.parametrize("numbers", [[], ["f2"]])
def test_an_unknown_number_is_told(numbers):
    with pytest.raises(ParameterError, match="numbers"):
        Scores(numbers)


def test_a_class_that_is_absent_or_never_predicted_counts_as_it_should():
    samples = Samples(torch.tensor([[2.0, 0, 0], [2, 0, 0]]), torch.tensor([0, 1]), torch.arange(2))
    found = headline(samples)
    assert found["recall"] == 50  # the mean of the two classes that occur
    assert found["precision"] == 25
    one = headline(Samples(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), torch.arange(1)))
    assert (one["top1"], one["recall"]) == (100, 100)


def test_intervals_hold_the_numbers_and_shrink_with_more_samples():
    few, many = samples_of(100), samples_of(1600)
    narrow, wide = bootstrap(many, 200, seed=0), bootstrap(few, 200, seed=0)
    found = headline(many)
    assert bootstrap(many, 200, seed=0) == narrow
    for name in NUMBERS:
        low, high = narrow[name]
        assert high - low < wide[name][1] - wide[name][0], name
        if name != "ece":  # which resampling makes larger
            assert low <= found[name] <= high, name
    # The normal approximation of a share, 1.96 sqrt(p (1 - p) / n), as a reference.
    share = found["top1"] / 100
    expected = 2 * 196 * math.sqrt(share * (1 - share) / 1600)
    assert narrow["top1"][1] - narrow["top1"][0] == pytest.approx(expected, rel=0.25)


def test_intervals_where_a_resample_lacks_classes():
    samples = samples_of(12, classes=6)
    assert all(math.isfinite(value) for pair in bootstrap(samples, 50, seed=0).values() for value in pair)


def test_mcnemar_is_exact():
    first = np.array([1] * 10 + [0] * 2 + [1] * 5)
    second = np.array([0] * 10 + [1] * 2 + [1] * 5)
    found = mcnemar(first, second)
    assert (found["only_first"], found["only_second"], found["both"], found["neither"]) == (10, 2, 5, 0)
    assert found["p"] == pytest.approx(2 * sum(math.comb(12, k) for k in range(3)) / 2**12)
    assert mcnemar(first, first)["p"] == 1
    low, high = paired_interval(first, second, 500, seed=0)
    assert low < 100 * (7 - 15) / 17 < high


def test_views_are_averaged_as_probabilities():
    def forward(images):
        return torch.stack([images[:, 0, 0, 0], images[:, 0, 0, -1]], dim=1)

    images = torch.zeros(1, 1, 16, 16)
    images[..., 0] = 3.0
    assert torch.equal(Averaged(forward)(images), forward(images))
    assert torch.allclose(Averaged(forward, "flip")(images).softmax(dim=1), torch.tensor([[0.5, 0.5]]))
    constant = torch.ones(2, 1, 16, 16)
    assert torch.allclose(Averaged(forward, "five_crop")(constant).softmax(dim=1), forward(constant).softmax(dim=1))
    with pytest.raises(ParameterError, match="five_crop"):
        Averaged(forward, "ten_crop")
