"""Losses and mixing."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from hookline.config.errors import ConfigError, ParameterError
from hookline.data.mix import MixHook
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
    counts = torch.bincount(run.data.train_loader.labels)
    torch.testing.assert_close(run.loss.weight, counts.sum() / (10 * counts))
    run.run()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossEntropy(weight="balance"), "weight='balance': must be null, balanced, or a list"),
        (lambda: CrossEntropy(weight=[1.0, -1.0]), "weight=-1.0"),
        (lambda: CrossEntropy(weight="balanced"), "do not tell their class counts"),
        (lambda: CrossEntropy(label_smoothing=1.0), "label_smoothing"),
        (lambda: Focal(gamma=-1.0), "gamma"),
        (lambda: MixHook(num_classes=3), "mixup"),
        (lambda: MixHook(mixup=-1.0, num_classes=3), "mixup"),
        (lambda: MixHook(mixup=1.0, p=0.0, num_classes=3), "p=0"),
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
    run = runner(f"loss={loss}", f"mix={mix}", "data.transforms.resize=null", "optimizer=adam", "hooks.evaluation=null")
    run.run()
    total, count = run.metrics.total("train/loss")
    assert total / count > 0
    assert run.metrics.latest["train/loss"] == total / count
    assert run.batch[1].ndim == (1 if mix == "none" else 2)


@pytest.mark.parametrize("mix", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixing_keeps_images_and_targets_together(mix):
    # Sample i is an image full of the value i, of class i: what is left of each in the image is in the target.
    images = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 16, 16).contiguous()
    hook = MixHook(**mix, num_classes=8)
    mixed, targets = hook.mix(images, torch.arange(8), seed=1, epoch=2, iteration=3)
    torch.testing.assert_close(targets.sum(1), torch.ones(8))
    torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ torch.arange(8.0), rtol=1e-4, atol=1e-4)
    assert torch.equal(images[:, 0, 0, 0], torch.arange(8.0))


def test_what_is_drawn_is_a_function_of_seed_epoch_and_iteration():
    images, labels = torch.rand(8, 1, 8, 8), torch.arange(8)
    hook = MixHook(mixup=0.8, cutmix=1.0, num_classes=8)
    draws = {}
    for key in [(s, e, i) for s in (0, 1) for e in (0, 1) for i in (0, 1, 2)]:
        torch.manual_seed(len(draws))
        before = torch.get_rng_state()
        draws[key] = hook.mix(images, labels, seed=key[0], epoch=key[1], iteration=key[2])
        assert torch.equal(torch.get_rng_state(), before)
    for key, (mixed, targets) in draws.items():
        again = MixHook(mixup=0.8, cutmix=1.0, num_classes=8).mix(
            images, labels, seed=key[0], epoch=key[1], iteration=key[2]
        )
        assert torch.equal(again[0], mixed)
        assert torch.equal(again[1], targets)
    assert len({tuple(targets.flatten().tolist()) for _, targets in draws.values()}) == len(draws)


def test_a_share_of_the_batches_stays_as_it_is():
    images, labels = torch.rand(8, 1, 8, 8), torch.arange(8)
    hook = MixHook(mixup=0.8, p=0.5, num_classes=8)
    kept = sum(hook.mix(images, labels, seed=0, epoch=0, iteration=i)[1].ndim == 1 for i in range(100))
    assert 30 < kept < 70


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
