"""What a model says of pictures: a sheet of them, and words on a frame of a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hookline.charts.lr_curve import STYLE

COLUMNS = 5
# Inches: of a picture's side, between cells, of the name above and of each bar below.
SIDE, GAP, NAME, BAR = 1.6, 0.15, 0.2, 0.17
MARGIN = 0.1
# Letters that fit into a cell.
LETTERS = 26
# Bars in a cell and on a frame.
BARS = 3

FIRST, OTHERS = "#4c8bc9", "#c3c9d0"


@dataclass(frozen=True)
class Told:
    """What is said of a picture.

    Attributes:
        name: of the picture.
        classes: the most probable first.
        probabilities: of each, in [0, 1].
    """

    name: str
    classes: Sequence[str]
    probabilities: Sequence[float]


def shortened(text: str, letters: int = LETTERS) -> str:
    """Return a text of at most so many letters, its end kept."""
    return text if len(text) <= letters else f"…{text[1 - letters :]}"


def draw_predictions(path: Path, pictures: Sequence[np.ndarray], told: Sequence[Told], dpi: int = 130) -> None:
    """Write a sheet of pictures, each with its name above and bars of its most probable classes below.

    Args:
        path: the sheet.
        pictures: `[H, W]` or `[H, W, 3]`, with values in [0, 1].
        told: what is said of each.
        dpi: dots per inch.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    bars = max(min(BARS, len(one.classes)) for one in told)
    cell = NAME + SIDE + bars * BAR + GAP
    width, height = 2 * MARGIN + columns * (SIDE + GAP) - GAP, 2 * MARGIN + rows * cell - GAP
    with matplotlib.rc_context({**STYLE, "font.size": 7}):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        for number, (picture, one) in enumerate(zip(pictures, told, strict=True)):
            left = MARGIN + number % columns * (SIDE + GAP)
            top = height - MARGIN - number // columns * cell
            figure.text((left + SIDE / 2) / width, (top - 0.6 * NAME) / height, shortened(one.name), ha="center")
            ax = figure.add_axes((left / width, (top - NAME - SIDE) / height, SIDE / width, SIDE / height))
            ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
            ax.set_axis_off()
            below = figure.add_axes(
                (left / width, (top - NAME - SIDE - bars * BAR) / height, SIDE / width, bars * BAR / height)
            )
            below.set_axis_off()
            below.set_xlim(0, 1)
            below.set_ylim(bars - 0.5, -0.5)
            for place, (name, share) in enumerate(list(zip(one.classes, one.probabilities, strict=True))[:bars]):
                below.barh(place, share, height=0.86, color=OTHERS if place else FIRST, alpha=0.75)
                below.text(0.015, place, shortened(name, LETTERS - 6), va="center")
                below.text(0.985, place, f"{100 * share:.1f}", va="center", ha="right")
        figure.savefig(path, dpi=dpi)


def annotated(pixels: np.ndarray, told: Told) -> np.ndarray:
    """Return a frame, uint8 `[H, W, 3]`, with its most probable classes and bars for them in the upper left corner."""
    frame = Image.fromarray(pixels)
    draw = ImageDraw.Draw(frame, "RGBA")
    size = max(10, min(frame.height // 20, frame.width // 18))
    font, line = _font(size), round(1.4 * size)
    shown = list(zip(told.classes, told.probabilities, strict=True))[:BARS]
    words = [f"{shortened(name)}  {100 * share:.0f} %" for name, share in shown]
    widest = max(draw.textlength(text, font=font) for text in words) + size
    draw.rectangle((0, 0, widest, line * len(words)), fill=(0, 0, 0, 150))
    for number, (text, (_, share)) in enumerate(zip(words, shown, strict=True)):
        top = number * line
        draw.rectangle((0, top + 1, widest * share, top + line - 1), fill=(76, 139, 201, 140))
        draw.text((size / 2, top + line / 2), text, font=font, fill=(255, 255, 255, 255), anchor="lm")
    return np.asarray(frame)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font that comes with matplotlib: it has the letters of many languages, and is there on any machine."""
    from matplotlib.font_manager import findfont

    return ImageFont.truetype(findfont("DejaVu Sans"), size)
