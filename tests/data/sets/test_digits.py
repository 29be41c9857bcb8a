"""The digits that come with scikit-learn."""

from __future__ import annotations

import torch

from hookline.data import Digits


def test_digits():
    train, val = Digits(split="train"), Digits(split="val")
    assert (len(train), len(val), len(train.classes), train.channels) == (1437, 360, 10, 1)
    assert val.images.shape == (360, 1, *val.image_size)
    assert all(30 <= n <= 40 for n in val.class_counts.tolist())
    again = Digits(split="val")
    assert torch.equal(again.images, val.images)
    assert torch.equal(again.targets, val.targets)
