"""The 8x8 handwritten digits that scikit-learn ships: a data set without a download."""

from __future__ import annotations

import torch
from torch import Tensor

from hookline.data.source import InMemorySource


class Digits(InMemorySource):
    """1,797 grey 8x8 images of ten digits (UCI Optical Recognition of Handwritten Digits, test part).

    20 % are held out for validation, by a stratified split that never changes.
    """

    classes = tuple(str(digit) for digit in range(10))
    channels = 1
    image_size = (8, 8)

    def load(self) -> tuple[Tensor, Tensor]:
        """Return the images, uint8 `[N, 1, 8, 8]`, and the labels of the split."""
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        train, val = train_test_split(range(len(digits.target)), test_size=0.2, stratify=digits.target, random_state=0)
        chosen = train if self.split == "train" else val
        images = torch.from_numpy(digits.images * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
        return images[chosen], torch.from_numpy(digits.target).long()[chosen]
