"""A sheet has every image, however many there are and whatever their sizes."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hookline.charts.contact_sheet import Row, draw_contact_sheet, shortened


def red_areas(path) -> int:
    """Return how many red images a sheet has, side by side or below one another."""
    picture = Image.open(path).convert("RGB")
    pixels = np.asarray(picture).astype(int)
    red = (pixels[..., 0] > 200) & (pixels[..., 1:].max(axis=-1) < 60)
    rows, columns = (red.mean(axis=axis) > 0.05 for axis in (1, 0))
    return int((np.diff(rows.astype(int)) == 1).sum() * (np.diff(columns.astype(int)) == 1).sum())


def red(height: int, width: int) -> np.ndarray:
    return np.tile([1.0, 0.0, 0.0], (height, width, 1))


def test_every_image_is_on_it(tmp_path):
    rows = [Row("before", [red(8, 8)] * 5, ["a", "b", "c", "d", "e"]), Row("after", [red(300, 300)] * 5)]
    draw_contact_sheet(tmp_path / "sheet.png", rows, "a title")
    assert red_areas(tmp_path / "sheet.png") == 10


def test_images_of_any_shape_fit_into_one_row(tmp_path):
    rows = [Row("mixed", [red(40, 40), red(500, 375), red(30, 60), red(1, 1)], ["one", "two\nlines", "", "ß ü"])]
    draw_contact_sheet(tmp_path / "sheet.png", rows)
    assert red_areas(tmp_path / "sheet.png") == 4


def test_grey_images_keep_their_brightness(tmp_path):
    draw_contact_sheet(tmp_path / "sheet.png", [Row("grey", [np.full((4, 4), 0.5)])])
    pixels = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    assert (np.abs(pixels.astype(int) - 128) < 3).mean() > 0.2


def test_a_row_tells_the_size_that_its_images_share():
    assert Row("after", [red(20, 30)] * 2).told_name == "after\n30 × 20"
    assert Row("after", [red(20, 30), red(20, 20)]).told_name == "after\nsizes differ"


def test_long_labels_are_shortened():
    assert shortened("cat") == "cat"
    assert shortened("a dog with a very long name", 10) == "a dog wit…"
