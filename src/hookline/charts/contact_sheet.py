"""Draw sheets of small images: samples before and after augmentation, and what each transform does."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hookline.charts.lr_curve import STYLE

# Inches: of an image's side, between images, for a line of words, and left of a row for its name.
SIDE, GAP, LINE, NAME = 0.95, 0.08, 0.15, 0.95
TITLE_LINE = 0.18
# Letters that fit above an image.
LETTERS = 15


@dataclass(frozen=True)
class Row:
    """Images side by side.

    Attributes:
        name: what stands left of them.
        images: `[H, W]` or `[H, W, 3]`, with values in [0, 1].
        captions: what stands above each, a line or several; empty for nothing.
    """

    name: str
    images: Sequence[np.ndarray]
    captions: Sequence[str] = field(default=())

    @property
    def lines(self) -> int:
        """Lines of words above the images."""
        return max((caption.count("\n") + 1 for caption in self.captions), default=0)

    @property
    def side(self) -> float:
        """The height that the images need, in inches: less than their width where all are landscapes."""
        return SIDE * min(1.0, max(image.shape[0] / image.shape[1] for image in self.images))

    @property
    def told_name(self) -> str:
        """The name, and width and height of the images where all have the same."""
        sizes = {image.shape[:2] for image in self.images}
        if len(sizes) > 1:
            return f"{self.name}\nsizes differ"
        return "\n".join([self.name, *(f"{width} × {height}" for height, width in sizes)])


def draw_contact_sheet(path: Path, rows: Sequence[Row], title: str = "", dpi: int = 130) -> None:
    """Write a picture of rows of images to `path`; a row with captions begins a new block.

    Args:
        path: the picture.
        rows: from the top down.
        title: stands above them.
        dpi: dots per inch.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(row.images) for row in rows)
    width = NAME + columns * (SIDE + GAP) + GAP
    told = textwrap.wrap(title, max(20, int(width * 15)))
    heights = [row.lines * LINE + (1.5 * GAP if row.captions else 0) + row.side + GAP for row in rows]
    height = GAP + len(told) * TITLE_LINE + sum(heights) + GAP
    with matplotlib.rc_context({**STYLE, "font.size": 8}):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        for number, line in enumerate(told):
            figure.text(0.5, 1 - (GAP + number * TITLE_LINE) / height, line, ha="center", va="top", fontsize=9)
        top = height - GAP - len(told) * TITLE_LINE
        for row, row_height in zip(rows, heights, strict=True):
            bottom = top - row_height
            name, _, size = row.told_name.partition("\n")
            figure.text((NAME - 2 * GAP) / width, (bottom + row.side / 2) / height, name, ha="right", va="bottom")
            figure.text(
                *((NAME - 2 * GAP) / width, (bottom + row.side / 2 - 0.03) / height, size),
                ha="right", va="top", fontsize=7, color="#777777",
            )  # fmt: skip
            for column, image in enumerate(row.images):
                left = NAME + column * (SIDE + GAP)
                ax = figure.add_axes((left / width, bottom / height, SIDE / width, row.side / height))
                ax.imshow(image, cmap="gray", vmin=0, vmax=1)
                ax.set_xticks([])
                ax.set_yticks([])
                ax.spines[:].set_color("#bbbbbb")
                if row.captions:
                    figure.text(
                        *((left + SIDE / 2) / width, (bottom + row.side + 0.05) / height, row.captions[column]),
                        ha="center", va="baseline", linespacing=1.05,
                    )  # fmt: skip
            top = bottom
        figure.savefig(path, dpi=dpi)


def shortened(label: str, letters: int = LETTERS) -> str:
    """Return a label that fits above an image."""
    return label if len(label) <= letters else f"{label[: letters - 1]}…"
