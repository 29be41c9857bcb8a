"""Draw learning-rate (and momentum) curves, of a preview or of a training that was recorded.

It knows nothing of schedules: it is given one value per iteration. matplotlib is used through its objects only, so
drawing leaves no global state behind and needs no display.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = Sequence[float] | np.ndarray

# Okabe and Ito's colours, which the colour-blind can tell apart, darkest first; then dashes tell the rest.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))

# A line is drawn through at most about this many points; more than a picture has pixels across are not seen.
MAX_POINTS = 4000
MAX_LEGEND = 12

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.linewidth": 0.7,
    "axes.edgecolor": "#444444",
    "axes.labelcolor": "#222222",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.xmargin": 0.0,
    "axes.ymargin": 0.06,
}


def draw_lr_curve(
    path: str | Path,
    *,
    lr: Mapping[str, Series],
    momentum: Mapping[str, Series] | None = None,
    iters_per_epoch: int,
    warmup_end: int | Mapping[str, int] = 0,
    title: str = "",
    size: tuple[float, float] | None = None,
    dpi: int = 160,
) -> None:
    """Write a chart of the curves to `path`; the momentum gets a panel of its own below, if there is one.

    Args:
        path: the picture; its suffix tells the format (png, pdf, svg).
        lr: the named learning rates, each with one value per iteration from iteration 0.
        momentum: the same of the momentum.
        iters_per_epoch: iterations in an epoch.
        warmup_end: the first iteration after the warm-up, which is marked; 0 for none. For curves that differ in it,
            one for each name.
        title: what stands above.
        size: width and height in inches.
        dpi: dots per inch.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = [("learning rate", lr), *([("momentum", momentum)] if momentum else [])]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size or (6.4, 3.3 + 1.5 * (len(panels) - 1)), layout="constrained")
        FigureCanvasAgg(figure)
        ratios = [2.2, 1.0][: len(panels)]
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
        names = list(dict.fromkeys(name for _, series in panels for name in series))
        styles = {name: _style(index, len(names)) for index, name in enumerate(names)}
        for ax, (label, series) in zip(axes, panels, strict=True):
            _draw_panel(ax, series, iters_per_epoch, warmup_end, styles)
            _set_scale(ax, series, from_zero=ax is axes[0])
            ax.set_ylabel(label)
            ax.yaxis.set_major_formatter("{x:.6g}")
        epochs = axes[0].get_xlim()[1]
        if isinstance(warmup_end, int) and 0 < warmup_end < epochs * iters_per_epoch:
            _mark_warmup(axes[0], warmup_end / iters_per_epoch, epochs)
        axes[-1].set_xlabel("epoch")
        axes[-1].xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=epochs >= 4))
        top = axes[0].secondary_xaxis("top", functions=(lambda x: x * iters_per_epoch, lambda x: x / iters_per_epoch))
        top.set_xlabel("iteration")
        top.xaxis.set_major_formatter("{x:,.0f}")
        if len(lr) > 1 or isinstance(warmup_end, Mapping):
            _draw_legend(axes[0])
        if title:
            letters = int(11 * figure.get_figwidth())  # that fit a line of this size
            axes[0].set_title(textwrap.fill(title, letters, break_on_hyphens=False), fontsize=10, loc="left", pad=8)
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=dpi, format=Path(path).suffix.lstrip(".") or "png")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(buffer.getvalue())


def decimate(values: Sequence[float] | np.ndarray, points: int = MAX_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Return (iterations, values) of at most about `points` points that draw the same line.

    Of every stretch of iterations the first, lowest, highest and last value stay, so that no peak, drop or step is
    lost: to the pixel it is the picture of all values (Jugel et al., M4, https://doi.org/10.14778/2732951.2732953).
    """
    array = np.asarray(values, dtype=float)
    count = len(array)
    if count <= points:
        return np.arange(count), array
    stretches = max(1, points // 4)
    bounds = np.linspace(0, count, stretches + 1).astype(int)
    keep = [
        i
        for start, end in pairwise(bounds)
        for i in (start, start + array[start:end].argmin(), start + array[start:end].argmax(), end - 1)
    ]
    index = np.unique(keep)
    return index, array[index]


def _style(index: int, count: int) -> dict[str, Any]:
    if count <= len(COLORS) * len(DASHES):
        # Several dash patterns even where colours suffice: in print, and where curves lie on each other.
        dash = DASHES[index % len(DASHES)] if count <= len(DASHES) else DASHES[index // len(COLORS)]
        return {"color": COLORS[index % len(COLORS)], "linestyle": dash}
    from matplotlib import colormaps

    return {"color": colormaps["viridis"](index / (count - 1)), "linestyle": "-"}


def _draw_panel(
    ax: Axes,
    series: Mapping[str, Series],
    iters_per_epoch: int,
    warmup_end: int | Mapping[str, int],
    styles: Mapping[str, dict[str, Any]],
) -> None:
    epochs = max((len(values) for values in series.values()), default=1) / iters_per_epoch
    for name, values in series.items():
        iters, kept = decimate(values)
        # An iteration lasts until the next: the last value is drawn to the end of the run.
        x = np.append(iters, len(values)) / iters_per_epoch
        y = np.append(kept, kept[-1:])
        ax.plot(x, y, drawstyle="steps-post", linewidth=1.5, label=name, solid_joinstyle="round", **styles[name])
        end = warmup_end.get(name, 0) if isinstance(warmup_end, Mapping) else 0
        if 0 < end < len(values):
            at = end / iters_per_epoch
            ax.plot([at], [values[end]], "o", ms=5, mfc="white", mew=1.3, mec=styles[name]["color"], zorder=5)
    ax.set_xlim(0, epochs)
    ax.grid(color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines["right"].set_visible(False)


def _set_scale(ax: Axes, series: Mapping[str, Series], *, from_zero: bool) -> None:
    low = min((min(values) for values in series.values() if len(values)), default=0.0)
    high = max((max(values) for values in series.values() if len(values)), default=0.0)
    if low >= 0 and high > 0 and (from_zero or high - low < 1e-6 * high):
        ax.set_ylim(-0.025 * high, 1.06 * high)


def _mark_warmup(ax: Axes, end: float, epochs: float) -> None:
    """Shade the epochs before `end` and name them; the words stand on the side that has room."""
    ax.axvspan(0, end, color="#999999", alpha=0.13, linewidth=0)
    ax.axvline(end, color="#555555", linewidth=0.9, linestyle=(0, (2, 2)))
    right = end > 0.6 * epochs
    ax.annotate(
        "end of warm-up",
        (end, 0.03),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if right else 4, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        fontsize=8,
        color="#444444",
    )


def _draw_legend(ax: Axes) -> None:
    handles, names = ax.get_legend_handles_labels()
    labels = [f"group {name}" if name.isdigit() else name for name in names]
    if len(labels) > MAX_LEGEND:
        # The first and last are enough to read a colour scale.
        left_out = len(labels) - MAX_LEGEND
        head = MAX_LEGEND - 1
        handles = [*handles[:head], handles[-1]]
        labels = [*labels[:head], f"{labels[-1]}  (and {left_out} between)"]
    if any(line.get_marker() == "o" for line in ax.get_lines()):
        from matplotlib.lines import Line2D

        handles.append(Line2D([], [], marker="o", ls="", ms=5, mfc="white", mew=1.3, mec="#444444"))
        labels.append("end of warm-up")
    ax.legend(handles, labels, fontsize=8, frameon=True, framealpha=0.9, edgecolor="none", loc="best")
