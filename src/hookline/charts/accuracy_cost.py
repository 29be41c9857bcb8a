"""Draw accuracy against what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hookline.charts.contact_sheet import shortened
from hookline.charts.lr_curve import COLORS, STYLE

MARKERS = "osD^vP*X"


def draw_accuracy_against_cost(
    path: Path, names: Sequence[str], accuracy: Sequence[float], costs: Mapping[str, Sequence[float]], label: str
) -> None:
    """Write a chart with a panel for each kind of cost, and a point for each model.

    Costs that differ by a factor of 8 or more have a logarithmic scale.

    Args:
        path: the picture.
        names: the models' names.
        accuracy: of each model.
        costs: of each model, by what they are.
        label: what the accuracy is.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, NullFormatter

    with matplotlib.rc_context({**STYLE, "axes.xmargin": 0.1, "axes.ymargin": 0.1}):
        figure = Figure(figsize=(2.8 * len(costs) + 1.8, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
        for ax, (kind, values) in zip(panels, costs.items(), strict=True):
            for number, (name, x, y) in enumerate(zip(names, values, accuracy, strict=True)):
                marker = MARKERS[number // len(COLORS) % len(MARKERS)]
                color = COLORS[number % len(COLORS)]
                ax.plot(x, y, marker, color=color, markersize=6, label=shortened(name, 28), linestyle="none")
            if max(values) < 8 * min(values):  # less than a decade may have no tick at a power of ten
                ax.xaxis.set_major_locator(MaxNLocator(4))
            else:
                ax.set_xscale("log")
                ax.xaxis.set_major_formatter("{x:g}")
                ax.xaxis.set_minor_formatter(NullFormatter())
            ax.set_xlabel(kind)
            ax.grid(color="#dddddd", linewidth=0.6)
            ax.set_axisbelow(True)
            ax.spines[["right", "top"]].set_visible(False)
        panels[0].set_ylabel(label)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, fontsize=8, frameon=False, loc="outside right center")
        figure.savefig(path, dpi=160)
