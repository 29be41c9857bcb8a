"""Class activation maps show the part of the image that makes the class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hookline.analysis.cam import METHODS, activation_maps, overlay


class Brightness(nn.Module):
    """Class 0 is bright, class 1 is dark; where, is known: the map is the mean brightness of cells of 8 pixels.

    Args:
        layout: of the map: `convolution`, `last` (channels) or `tokens` (after one of the class).
    """

    def __init__(self, layout: str) -> None:
        super().__init__()
        self.layout = layout
        self.pool, self.map, self.head = nn.AvgPool2d(8), nn.Identity(), nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[1.0, -0.1], [-1.0, 0.1]]))

    def forward(self, images):
        cells = self.pool(images.mean(dim=1, keepdim=True))
        cells = torch.cat([cells, 0.1 + 0.1 * cells], dim=1)
        if self.layout == "convolution":
            return self.head(self.map(cells).mean(dim=(2, 3)))
        if self.layout == "last":
            return self.head(self.map(cells.permute(0, 2, 3, 1)).mean(dim=(1, 2)))
        tokens = cells.flatten(2).transpose(1, 2)
        tokens = self.map(torch.cat([torch.ones_like(tokens[:, :1]), tokens], dim=1))
        return self.head(tokens[:, 1:].mean(dim=1))


def images() -> torch.Tensor:
    """Return two landscapes, 32 high and 48 wide, with a bright cell each."""
    found = torch.zeros(2, 3, 32, 48)
    found[0, :, 8:16, 32:40] = 1
    found[1, :, 24:32, 0:8] = 1
    return found


@pytest.mark.parametrize("layout", ["convolution", "last", "tokens"])
@pytest.mark.parametrize("method", METHODS)
def test_the_map_is_high_where_the_class_is(method, layout):
    maps = activation_maps(Brightness(layout).eval(), images(), [0, 0], method=method, layers=["map"])
    assert (maps.shape, maps.dtype) == ((2, 32, 48), np.float32)
    assert 0 <= maps.min() < maps.max() <= 1
    for number, (row, column) in enumerate([(1, 4), (3, 0)]):
        cells = maps[number].reshape(4, 8, 6, 8).mean(axis=(1, 3))
        assert np.unravel_index(cells.argmax(), cells.shape) == (row, column)


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "xgradcam"])
def test_it_is_the_class_asked_for_that_is_explained(method):
    maps = activation_maps(Brightness("convolution").eval(), images(), [0, 1], method=method, layers=["map"])
    assert maps[0, 8:16, 32:40].mean() > 0.6
    assert maps[1, 24:32, 0:8].mean() < 0.3  # nothing bright makes it dark


def test_maps_of_several_layers_are_averaged():
    model = Brightness("convolution").eval()
    one = activation_maps(model, images(), [0, 0], method="gradcam", layers=["map"])
    both = activation_maps(model, images(), [0, 0], method="gradcam", layers=["pool", "map"])
    assert one.shape == both.shape
    assert both[0].argmax() == one[0].argmax()


def test_the_model_stays_as_it_is(capfd):
    model = Brightness("tokens").eval().requires_grad_(False)
    before = model(images())
    for method in METHODS:
        activation_maps(model, images(), [0, 0], method=method, layers=["map"], smooth=True)
    assert torch.equal(model(images()), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert capfd.readouterr() == ("", "")


def test_an_overlay_is_red_where_the_map_is_high_and_blue_where_it_is_low():
    activation = np.zeros((4, 6), np.float32)
    activation[:, 3:] = 1
    for picture in (np.full((4, 6), 0.5, np.float32), np.full((4, 6, 3), 0.5, np.float32)):
        found = overlay(picture, activation)
        assert (found.shape, found.dtype) == ((4, 6, 3), np.uint8)
        red, blue = found[:, 3:].astype(int), found[:, :3].astype(int)
        assert (red[..., 0] > red[..., 2] + 50).all()
        assert (blue[..., 2] > blue[..., 0] + 50).all()
