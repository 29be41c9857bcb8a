"""A figure with one pair of axes, in the style of all charts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hookline.charts.lr_curve import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@contextmanager
def axes(path: Path, width: float, height: float = 3.2) -> Iterator[Axes]:
    """Give the axes of a new figure, and write it once all is drawn.

    Args:
        path: the picture.
        width: of the figure, in inches.
        height: of the figure, in inches.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.subplots()
        ax.grid(color="#dddddd", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.spines[["right", "top"]].set_visible(False)
        yield ax
        figure.savefig(path, dpi=160)
