"""The 8x8 handwritten digits that scikit-learn ships: a data set without a download."""

from __future__ import annotations

from typing import Any

import torch

from hookline.data.in_memory import InMemoryData, Split


class Digits(InMemoryData):
    """1,797 grey 8x8 images of ten digits (UCI Optical Recognition of Handwritten Digits, test part).

    20 % are held out for validation, by a stratified split that never changes.

    Args:
        pipeline: see `InMemoryData`.
    """

    classes = tuple(str(digit) for digit in range(10))

    def __init__(self, **pipeline: Any) -> None:
        super().__init__(**pipeline)

    def load(self) -> tuple[Split, Split]:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        train, val = train_test_split(range(len(digits.target)), test_size=0.2, stratify=digits.target, random_state=0)
        images = torch.from_numpy(digits.images * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
        labels = torch.from_numpy(digits.target).long()
        return Split(images[train], labels[train]), Split(images[val], labels[val])
