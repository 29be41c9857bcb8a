"""Draw what a learning-rate range test saw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from hookline.charts.lr_curve import COLORS, STYLE


def draw_range_test(
    path: Path,
    *,
    lr: Sequence[float],
    loss: Sequence[float],
    smoothed: Sequence[float],
    suggestion: float | None,
    log_scale: bool = True,
) -> None:
    """Write a chart of the loss against the learning rate to `path`.

    Args:
        path: the picture.
        lr: the learning rate of each iteration.
        loss: the training loss of each.
        smoothed: its running mean.
        suggestion: the learning rate to mark; None for none.
        log_scale: show the learning rates by their logarithms.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.subplots()
        ax.plot(lr, loss, color=COLORS[5], linewidth=0.8, alpha=0.7, label="loss")
        ax.plot(lr, smoothed, color=COLORS[0], linewidth=1.7, label="smoothed")
        # The last losses may be thousands of times the others and would flatten them.
        low, high = min(smoothed), max(smoothed[: max(2, len(smoothed) // 2)])
        ax.set_ylim(max(0, low - 0.1 * (high - low)), high + 0.6 * (high - low))
        if suggestion is not None:
            # The words stand on the side of the line that has more room.
            left = (math.log(suggestion / lr[0]) / math.log(lr[-1] / lr[0]) if log_scale else suggestion / lr[-1]) < 0.5
            ax.axvline(suggestion, color=COLORS[1], linewidth=1.2, linestyle=(0, (5, 2)))
            ax.annotate(
                f"suggested {suggestion:.2g}",
                (suggestion, 0.97),
                xycoords=("data", "axes fraction"),
                xytext=(5 if left else -5, 0),
                textcoords="offset points",
                ha="left" if left else "right",
                va="top",
                fontsize=8,
                color=COLORS[1],
            )
        ax.set_xscale("log" if log_scale else "linear")
        ax.set_xlabel("learning rate")
        ax.set_ylabel("training loss")
        ax.grid(color="#dddddd", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.spines[["right", "top"]].set_visible(False)
        ax.legend(fontsize=8, frameon=True, framealpha=0.9, edgecolor="none", loc="lower left")
        figure.savefig(path, dpi=160)
