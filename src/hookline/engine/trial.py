"""What can be seen of a run's parts before it begins."""

from __future__ import annotations

from typing import Any

import torch

from hookline.config.errors import ConfigError
from hookline.data.batch import Batch
from hookline.engine.forward import Forward, evaluating


def check_model(forward: Forward, loss: Any, batch: Batch, num_classes: int) -> int:
    """Return how many logits the model gives for each image.

    Args:
        forward: maps images to logits; its model is put into eval mode meanwhile.
        loss: maps logits and labels to a scalar.
        batch: some samples as the model will see them.
        num_classes: how many logits there have to be at least.

    Raises:
        ConfigError: they are too few, or the loss cannot be computed of them.
    """
    shape = "x".join(str(n) for n in batch.images.shape[1:])
    name = type(forward.model).__name__
    try:
        with torch.inference_mode(), evaluating(forward.model):
            logits = forward(batch.images)
    except Exception as error:  # whatever a model does with images that it is not made for
        raise ConfigError(f"model: {name} cannot take the data's {shape} images: {error}") from error
    if logits.ndim != 2 or logits.shape[1] < num_classes:
        raise ConfigError(
            f"model: {name} must return logits of shape ({len(batch)}, {num_classes}) for {len(batch)} images of"
            f" {num_classes} classes, but returned {tuple(logits.shape)}"
        )
    try:
        loss(logits, batch.targets)
    except Exception as error:  # whatever a loss does with what it is not made for
        raise ConfigError(f"loss: {type(loss).__name__} cannot be computed: {error}") from error
    return logits.shape[1]
