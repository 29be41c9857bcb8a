"""Losses, of labels and of what mixing makes of them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from hookline.config.errors import ConfigError, ParameterError
from hookline.data import Digits
from hookline.losses import CrossEntropy, Focal, SoftTarget

LOSSES = ["cross_entropy", "soft_target", "bce", "focal"]


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 3, generator=generator).requires_grad_()
    return logits, torch.arange(12) % 3


def test_all_agree_with_cross_entropy_where_they_must(sample):
    logits, labels = sample
    soft = functional.one_hot(labels, 3).float()
    plain = functional.cross_entropy(logits, labels)
    for loss in (CrossEntropy(), SoftTarget(), Focal(gamma=0.0)):
        torch.testing.assert_close(loss(logits, labels), plain)
        torch.testing.assert_close(loss(logits, soft), plain)
    weight = [1.0, 2.0, 5.0]
    weighted = functional.cross_entropy(logits, labels, weight=torch.tensor(weight))
    torch.testing.assert_close(CrossEntropy(weight=weight)(logits, labels), weighted)
    torch.testing.assert_close(Focal(gamma=0.0, weight=weight)(logits, labels), weighted)
    smooth = functional.cross_entropy(logits, labels, label_smoothing=0.2)
    torch.testing.assert_close(CrossEntropy(label_smoothing=0.2)(logits, labels), smooth)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_is_its_formula_with_finite_gradients(gamma, sample):
    logits, labels = sample
    p = logits.softmax(1)[torch.arange(12), labels]
    torch.testing.assert_close(Focal(gamma=gamma)(logits, labels), (-((1 - p) ** gamma) * p.log()).mean())
    sure = torch.tensor([[100.0, 0.0, 0.0]], requires_grad=True)
    Focal(gamma=gamma)(sure, torch.tensor([0])).backward()
    assert sure.grad is not None
    assert sure.grad.isfinite().all()


def test_balanced_weights_make_every_class_count_the_same():
    counts = torch.tensor([10, 30, 60])
    weight = CrossEntropy(weight="balanced", class_counts=counts).weight
    assert weight is not None
    torch.testing.assert_close(weight * counts, torch.full((3,), 100 / 3))
    assert CrossEntropy(weight="balanced", class_counts=torch.tensor([5, 0])).weight.tolist() == [0.5, 0.0]  # type: ignore[union-attr]


def test_balanced_weights_from_the_data(runner):
    run = runner("loss.weight=balanced", "data.transforms.resize=null", "runner.max_iters=2")
    counts = torch.bincount(Digits(split="train").targets)
    torch.testing.assert_close(run.update.loss.weight, counts.sum() / (10 * counts))
    run.run()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossEntropy(weight="balance"), "weight='balance': must be null, balanced, or a list"),
        (lambda: CrossEntropy(weight=[1.0, -1.0]), "weight=-1.0"),
        (lambda: CrossEntropy(weight="balanced"), "do not tell their class counts"),
        (lambda: CrossEntropy(label_smoothing=1.0), "label_smoothing"),
        (lambda: Focal(gamma=-1.0), "gamma"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def test_a_list_of_the_wrong_length_is_told(runner):
    with pytest.raises(ConfigError, match="loss: CrossEntropy cannot be computed"):
        runner("loss.weight=[1.0,2.0]")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("mix", ["none", "both"])
def test_every_loss_trains_with_and_without_mixing(loss, mix, runner):
    run = runner(f"loss={loss}", f"mix={mix}", "data.transforms.resize=null", "optimizer=adam", "evaluation=none")
    run.run()
    total, count = run.sums.total("train/loss")
    assert total / count > 0
    assert run.history[-1]["train/loss"] == total / count
    assert run.batch.targets.ndim == (1 if mix == "none" else 2)


def test_mixing_with_a_loss_of_labels_only_is_refused(runner, monkeypatch, tmp_path):
    (tmp_path / "hard_loss.py").write_text(
        "from torch import nn\nclass Hard(nn.NLLLoss):\n"
        "    def __init__(self, label_smoothing, weight):\n        super().__init__()\n"
        "    def forward(self, x, y):\n        return super().forward(x.log_softmax(1), y)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    runner("loss._target_=hard_loss.Hard")
    with pytest.raises(ConfigError, match=r"mix: mixing gives soft targets, and Hard takes labels only; choose loss="):
        runner("loss._target_=hard_loss.Hard", "mix=mixup")


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_computed_in_float32_under_mixed_precision(loss, runner):
    run = runner(f"loss={loss}", "runner.precision=bf16", "data.transforms.resize=null", "evaluation=none")
    run.update.begin_epoch(0)
    outputs = run.update(batch := next(run.train_loader.batches(0)))
    exact = run.update.loss(outputs["logits"].double(), batch.targets)
    assert outputs["loss"].dtype == torch.float32
    torch.testing.assert_close(outputs["loss"].double(), exact, rtol=1e-5, atol=1e-6)
