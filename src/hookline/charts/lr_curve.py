"""Draw learning-rate (and momentum) curves, of a preview or of a training that was recorded.

It knows nothing of schedules: it is given one value per iteration. matplotlib is used through its objects only, so
drawing leaves no global state behind and needs no display.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hookline.charts.alike import alike, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Series = Sequence[float] | np.ndarray

# Okabe and Ito's colours, which the colour-blind can tell apart, darkest first; then dashes tell the rest.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))

# A line is drawn through at most about this many points; more than a picture has pixels across are not seen.
MAX_POINTS = 4000
# More names than this in a legend say less than the highest, the lowest and some between.
MAX_LEGEND = 12
# A legend of more names than this stands beside the curves: inside it would cover them.
MAX_INSIDE = 4
LEGEND_WIDTH = 1.6
MAX_TITLE_LINES = 3

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
    "svg.hashsalt": "hookline",
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
    """Write a chart of the curves to `path`; a momentum that varies gets a panel of its own below.

    Curves that are the same in everything are drawn as one, and the legend says how many they are.

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

    ends = warmup_end if isinstance(warmup_end, Mapping) else dict.fromkeys(lr, 0)
    kinds = [("learning rate", lr), *([("momentum", momentum)] if momentum and varies(momentum.values()) else [])]
    groups = alike(*(series for _, series in kinds), ends)
    if len(groups) > MAX_LEGEND:  # a colour scale tells them apart
        groups.sort(key=lambda names: max(lr.get(names[0], [0.0])), reverse=True)
    styles = {label(names): _style(index, len(groups)) for index, names in enumerate(groups)}
    panels = [
        (kind, {label(names): series[names[0]] for names in groups if names[0] in series}) for kind, series in kinds
    ]
    ends = {label(names): ends.get(names[0], 0) for names in groups}
    beside = len(groups) > MAX_INSIDE
    with matplotlib.rc_context(STYLE):
        height = 3.3 + 1.5 * (len(panels) - 1)
        figure = Figure(figsize=size or (6.4 + LEGEND_WIDTH * beside, height), layout="constrained")
        FigureCanvasAgg(figure)
        ratios = [2.2, 1.0][: len(panels)]
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
        for ax, (kind, series) in zip(axes, panels, strict=True):
            _draw_panel(ax, series, iters_per_epoch, ends, styles)
            _set_scale(ax, series, from_zero=ax is axes[0])
            ax.set_ylabel(kind)
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
            _draw_legend(figure, axes[0], beside)
        if title:
            letters = int(11 * (figure.get_figwidth() - LEGEND_WIDTH * beside))  # that fit a line of this size
            lines = textwrap.wrap(title, letters, break_on_hyphens=False, max_lines=MAX_TITLE_LINES, placeholder=" ...")
            axes[0].set_title("\n".join(lines), fontsize=10, loc="left", pad=8)
        suffix = Path(path).suffix.lstrip(".") or "png"
        buffer = io.BytesIO()
        # Without a date the same curves give the same file.
        figure.savefig(buffer, dpi=dpi, format=suffix, metadata={"Date": None} if suffix == "svg" else None)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(buffer.getvalue())


def varies(series: Iterable[Series]) -> bool:
    """Return whether any curve is more than a constant line, which no chart is needed for."""
    return any(len(values) > 0 and min(values) != max(values) for values in series)


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
    if count <= MAX_LEGEND:
        # Several dash patterns even where colours suffice: in print, and where curves lie on each other.
        dash = DASHES[index % len(DASHES)] if count <= len(DASHES) else DASHES[index // len(COLORS)]
        return {"color": COLORS[index % len(COLORS)], "linestyle": dash}
    from matplotlib import colormaps

    return {"color": colormaps["viridis"](index / (count - 1)), "linestyle": "-"}


def _draw_panel(
    ax: Axes,
    series: Mapping[str, Series],
    iters_per_epoch: int,
    ends: Mapping[str, int],
    styles: Mapping[str, dict[str, Any]],
) -> None:
    epochs = max((len(values) for values in series.values()), default=1) / iters_per_epoch
    for name, values in series.items():
        iters, kept = decimate(values)
        # An iteration lasts until the next: the last value is drawn to the end of the run.
        x = np.append(iters, len(values)) / iters_per_epoch
        y = np.append(kept, kept[-1:])
        ax.plot(x, y, drawstyle="steps-post", linewidth=1.5, label=name, solid_joinstyle="round", **styles[name])
        end = ends[name]
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
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        zorder=6,
    )


def _draw_legend(figure: Figure, ax: Axes, beside: bool) -> None:
    handles, labels = ax.get_legend_handles_labels()
    if (count := len(labels)) > MAX_LEGEND:
        # They are sorted by their highest value; some, evenly spread, are enough to read a colour scale.
        kept = [round(place * (count - 1) / (MAX_LEGEND - 1)) for place in range(MAX_LEGEND)]
        handles, labels = [handles[i] for i in kept], [labels[i] for i in kept]
    if any(line.get_marker() == "o" for line in ax.get_lines()):
        from matplotlib.lines import Line2D

        handles.append(Line2D([], [], marker="o", ls="", ms=5, mfc="white", mew=1.3, mec="#444444"))
        labels.append("end of warm-up")
    left_out = f"{MAX_LEGEND} of {count} curves" if count > MAX_LEGEND else None
    options: dict[str, Any] = {"fontsize": 8, "edgecolor": "none", "title": left_out, "title_fontsize": 8}
    if beside:
        figure.legend(handles, labels, loc="outside right upper", frameon=False, **options)
    else:
        ax.legend(handles, labels, loc="best", framealpha=0.9, **options)
