"""Images of a batch as pictures, with the normalisation taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from hookline.data.transforms import Normalize, Transform


def denormalized(images: Tensor, transforms: Mapping[str, Transform]) -> Tensor:
    """Return images with values in [0, 1] as they were before the last `Normalize` of the transforms."""
    for transform in reversed(list(transforms.values())):
        if isinstance(transform, Normalize):
            std, mean = (torch.tensor(values).view(-1, 1, 1) for values in (transform.std, transform.mean))
            return images.cpu() * std + mean
    return images.cpu()


def pictures_of(images: Tensor | Sequence[Tensor]) -> list[np.ndarray]:
    """Return images `[C, H, W]`, uint8 or in [0, 1], as a picture each; other than three channels are averaged."""
    found = []
    for image in images:
        values = image.float() / 255 if image.dtype == torch.uint8 else image.float()
        values = values.permute(1, 2, 0) if len(values) == 3 else values.mean(dim=0)
        found.append(values.clamp(0, 1).numpy())
    return found
