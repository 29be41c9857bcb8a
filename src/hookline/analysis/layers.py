"""The layers of a model whose outputs are maps of positions in the image, whatever family the model is of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hookline.config.errors import ConfigError, did_you_mean

# Tokens before those of the image's patches, where the model does not say: of the class, and of a teacher (DeiT).
MOST_PREFIX_TOKENS = 2

# How many names a message lists.
LISTED = 12


@dataclass(frozen=True)
class MapLayer:
    """A layer that gives a map.

    Attributes:
        name: as in `model.named_modules()`.
        channels: of the map.
        grid: its height and width in positions.
        reaches: whether the score of a class depends on the map at more than one position.
    """

    name: str
    channels: int
    grid: tuple[int, int]
    reaches: bool


def as_map(output: Any, size: tuple[int, int], prefix: int | None = None) -> Tensor | None:
    """Return a layer's output as `[B, C, h, w]`, a new tensor; None where it is not a map of positions.

    Outputs are `[B, C, h, w]` (convolutions), `[B, h, w, C]` (Swin) or `[B, N, C]` with `N = h w` tokens in rows, after
    tokens that are not of the image (ViT, MLP-Mixer).

    Args:
        output: what the layer returned.
        size: height and width of the image in pixels, which say what shape a map has.
        prefix: how many tokens come before the image's, if the model says so.
    """
    if not isinstance(output, Tensor):
        return None
    if output.ndim == 4:
        if _fits(output.shape[2:], size):
            return output.clone()
        return output.permute(0, 3, 1, 2).clone() if _fits(output.shape[1:3], size) else None
    if output.ndim != 3:
        return None
    count = output.shape[1]
    for before in dict.fromkeys([prefix or 0, *range(MOST_PREFIX_TOKENS + 1)]):
        if (grid := _grid_of(count - before, size)) is not None:
            tokens = output[:, before:]
            return tokens.transpose(1, 2).reshape(len(output), -1, *grid).clone()
    return None


def _fits(grid: Sequence[int], size: tuple[int, int]) -> bool:
    """Say whether a grid is what some stride makes of the image, each side rounded up or down."""
    (rows, columns), (height, width) = grid, size
    if rows * columns < 2 or rows > height or columns > width:
        return False
    return height * (columns - 1) < width * (rows + 1) and width * (rows - 1) < height * (columns + 1)


def _grid_of(count: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the grid of so many tokens that has the image's shape."""
    if count < 2:
        return None
    height = round((count * size[0] / size[1]) ** 0.5)
    for rows in (height, height - 1, height + 1):
        if rows > 0 and count % rows == 0 and _fits((rows, count // rows), size):
            return rows, count // rows
    return None


def prefix_tokens_of(model: nn.Module) -> int | None:
    """Return how many tokens a model of timm puts before those of the image; None where it does not say."""
    count = getattr(model, "num_prefix_tokens", None)
    return count if isinstance(count, int) else None


def map_layers(model: nn.Module, images: Tensor) -> list[MapLayer]:
    """Return the layers whose outputs are maps, in the order in which they finish in a forward pass.

    A layer that is called several times in a pass is left out: it has no one map.

    Args:
        model: in eval mode.
        images: `[B, C, H, W]`, on its device; one is enough.
    """
    names = {module: name for name, module in model.named_modules() if name}
    outputs: list[tuple[str, Tensor, Tensor]] = []
    calls: Counter[str] = Counter()
    size = (images.shape[-2], images.shape[-1])
    prefix = prefix_tokens_of(model)

    def note(module: nn.Module, _: Any, output: Any) -> None:
        calls[names[module]] += 1
        found = as_map(output, size, prefix)
        if found is not None and found.shape[0] == len(images):
            outputs.append((names[module], output, found))

    handles = [module.register_forward_hook(note) for module in names]
    try:
        with torch.enable_grad():
            # The images need a gradient so that frozen layers pass one on.
            score = model(images.detach().requires_grad_()).max(dim=-1).values.sum()
            followed = [output for _, output, _ in outputs]
            gradients = torch.autograd.grad(score, followed, allow_unused=True) if followed else ()
    finally:
        for handle in handles:
            handle.remove()
    layers = []
    for (name, _, found), gradient in zip(outputs, gradients, strict=True):
        if calls[name] > 1:
            continue
        own = None if gradient is None else as_map(gradient, size, prefix)
        reaches = own is not None and int((own[0].abs().amax(dim=0) > 0).sum()) > 1
        layers.append(MapLayer(name, found.shape[1], (found.shape[2], found.shape[3]), reaches))
    return layers


def best_layer(model: nn.Module, layers: Sequence[MapLayer]) -> MapLayer:
    """Return the layer to explain by: the last one that the score of a class depends on at more than one position.

    In a convolutional network this is the last map before pooling. In a transformer with a class token it lies before
    the last attention: what comes after it of the patches' tokens has no influence any more. Linear layers, which are
    the parts of an attention, are left out, and where a model of timm says how many features it has, so are maps with
    another number of channels.

    Args:
        model: whose layers these are.
        layers: in the order in which they finish.

    Raises:
        ConfigError: there is none.
    """
    channels = getattr(model, "num_features", None)
    reaching = [layer for layer in layers if layer.reaches]
    plain = [layer for layer in reaching if not isinstance(model.get_submodule(layer.name), nn.Linear)]
    own = [layer for layer in plain if layer.channels == channels]
    if not reaching:
        raise ConfigError("model: none of its layers gives a map of positions on which the classes' scores depend")
    return (own or plain or reaching)[-1]


def chosen_layers(model: nn.Module, images: Tensor, wanted: Sequence[str] | None) -> list[str]:
    """Return the names of the layers to explain by: those wanted, checked, or the one that suits the model.

    Args:
        model: in eval mode.
        images: `[B, C, H, W]`, on its device; one is enough.
        wanted: names; None for what suits the model.

    Raises:
        ConfigError: a layer is not there, or is none to explain by.
    """
    layers = map_layers(model, images)
    best = best_layer(model, layers)
    if wanted is None:
        return [best.name]
    usable = {layer.name for layer in layers if layer.reaches}
    there = {name for name, _ in model.named_modules()}
    for name in wanted:
        if name not in usable:
            what = "gives no map on which the classes' scores depend" if name in there else "there is no such layer"
            near = did_you_mean(name, usable)
            raise ConfigError(f"layer={name}: {what}.{near} It can be: {listed(layers, best)}")
    return list(wanted)


def listed(layers: Sequence[MapLayer], best: MapLayer) -> str:
    """Return the names of layers for a message: the highest ones, and how many there are below them."""
    names = [layer.name for layer in layers if layer.reaches]
    highest = sorted(names, key=lambda name: name.count("."))[:LISTED]
    shown = [name for name in names if name in highest or name == best.name]
    told = ", ".join(f"{name} (what null chooses)" if name == best.name else name for name in shown)
    more = len(names) - len(shown)
    return told + (f", and {more} more" if more else "")
