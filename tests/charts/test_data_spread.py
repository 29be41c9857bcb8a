"""Charts of classes and sizes, for few and for many of them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hookline.charts.data_spread import draw_class_counts, draw_sizes


def blue(path) -> float:
    """Return the share of a picture that has the colour of the training part."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return float((np.abs(pixels - (0x00, 0x72, 0xB2)).max(axis=-1) < 40).mean())


@pytest.mark.parametrize("count", [1, 2, 40, 61, 1000])
def test_classes_are_drawn_however_many(count, tmp_path):
    path = tmp_path / "classes.png"
    classes = [f"Türkenbundlilie number {number}" for number in range(count)]
    draw_class_counts(path, classes, {"training": [50] * count, "validation": [5] * count})
    assert blue(path) > 0.05
    assert Image.open(path).width <= 12 * 160


def test_a_larger_class_has_a_larger_bar(tmp_path):
    for name, counts in (("even", [50, 50, 50]), ("uneven", [50, 5, 5])):
        draw_class_counts(tmp_path / f"{name}.png", ["a", "b", "c"], {"training": counts})
    assert blue(tmp_path / "even.png") > 2 * blue(tmp_path / "uneven.png")


def test_sizes_are_points(tmp_path):
    draw_sizes(tmp_path / "one.png", {"training": [(375, 500)]})
    draw_sizes(tmp_path / "many.png", {"training": [(300 + n, 500 - n) for n in range(150)], "validation": [(9, 900)]})
    assert 0 < blue(tmp_path / "one.png") < blue(tmp_path / "many.png")
