"""Many pictures through a model: read by threads, in batches, with those that cannot be read named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hookline.config.errors import reason_of
from hookline.data.decode import DecodeError
from hookline.data.parallel import in_order
from hookline.data.video import VideoError, frames_of

Picture = Path | np.ndarray

# Batches that are read while the model has one.
AHEAD = 2


@dataclass(frozen=True)
class Item:
    """A picture that is to be predicted, or one that has been.

    Attributes:
        file: where it is from.
        picture: the file, or a frame's pixels; None where it is broken or done with.
        frame: its number in a video, counted from 0.
        seconds: when it is shown, from the video's beginning.
        error: why it cannot be predicted.
        labels: the most probable classes, the first one first.
        probabilities: of each, in [0, 1].
    """

    file: Path
    picture: Picture | None = None
    frame: int | None = None
    seconds: float | None = None
    error: str | None = None
    labels: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()


def items_of_images(paths: Iterable[Path]) -> Iterator[Item]:
    """Yield an item for each file."""
    return (Item(path, path) for path in paths)


def items_of_video(path: Path, every: int) -> Iterator[Item]:
    """Yield an item for every so many-th frame, and one with an error where the video is broken."""
    try:
        for frame in frames_of(path, every):
            yield Item(path, frame.pixels, frame.number, frame.seconds)
    except VideoError as error:
        yield Item(path, error=str(error))


def read_ahead(
    items: Iterable[Item], read: Callable[[Picture], Tensor], *, workers: int, ahead: int
) -> Iterator[tuple[Item, Tensor | None]]:
    """Yield each item without its picture, and the picture as `read` returns it; for a broken one an error and None.

    Args:
        items: pictures; they are asked for by this thread.
        read: called by threads.
        workers: how many threads.
        ahead: how many pictures they are ahead.
    """

    def prepared(item: Item) -> tuple[Item, Tensor | None]:
        done = replace(item, picture=None)
        if item.picture is None:
            return done, None
        try:
            return done, read(item.picture)
        except (DecodeError, OSError) as error:
            return replace(done, error=reason_of(error)), None
        except Exception as error:  # whatever a transform does with a picture that it is not made for
            return replace(done, error=f"cannot be transformed: {reason_of(error)}"), None

    return in_order(prepared, items, workers, ahead)


def predict(
    items: Iterable[Item],
    read: Callable[[Picture], Tensor],
    forward: Callable[[Tensor], Tensor],
    *,
    device: torch.device,
    batch_size: int,
    workers: int,
    top_k: int,
) -> Iterator[Item]:
    """Yield the items in their order, each with its classes or with an error.

    Args:
        items: pictures; they are asked for by this thread.
        read: returns a picture as the model gets it, `[C, H, W]`; called by threads.
        forward: maps images `[B, C, H, W]` to logits `[B, classes]`.
        device: where `forward` wants the images.
        batch_size: pictures that the model gets at once.
        workers: how many threads read.
        top_k: classes of each.
    """
    ready = read_ahead(items, read, workers=workers, ahead=AHEAD * batch_size)
    while batch := list(islice(ready, batch_size)):
        images = [image for _, image in batch if image is not None]
        told = iter(top_of(forward, torch.stack(images).to(device), top_k)) if images else iter(())
        for item, image in batch:
            if image is None:
                yield item
            else:
                labels, probabilities = next(told)
                yield replace(item, labels=labels, probabilities=probabilities)


@torch.inference_mode()
def top_of(
    forward: Callable[[Tensor], Tensor], images: Tensor, top_k: int
) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Return the most probable classes of each image with their probabilities, the softmax of the logits."""
    shares = forward(images).float().softmax(dim=1)
    top = shares.topk(min(top_k, shares.shape[1]))
    return [
        (tuple(labels), tuple(values)) for labels, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
