"""Draw how a data set is spread: over its classes, and over the sizes of its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hookline.charts.axes import axes
from hookline.charts.contact_sheet import shortened
from hookline.charts.lr_curve import COLORS

# With more classes than this their names cannot be read any more.
MAX_NAMES = 60


def draw_class_counts(path: Path, classes: Sequence[str], counts: Mapping[str, Sequence[int]]) -> None:
    """Write a chart of the number of images in each class.

    Args:
        path: the picture.
        classes: the names of the classes; with many, they are sorted by size and go without names.
        counts: of each class, by the name of the part, such as `training`.
    """
    named = len(classes) <= MAX_NAMES
    first = np.array(next(iter(counts.values())))
    order = np.arange(len(classes)) if named else np.argsort(-first, kind="stable")
    with axes(path, width=min(12, max(6.4, 1.5 + 0.17 * len(classes))) if named else 6.4) as ax:
        for number, (part, values) in enumerate(counts.items()):
            width = 0.8 / len(counts) if named else 1.0
            places = np.arange(len(classes)) + (width * (number - (len(counts) - 1) / 2) if named else 0)
            ax.bar(places, np.array(values)[order], width, color=COLORS[number], label=f"{part}: {sum(values):,}")
        if named:
            slanted = max(map(len, classes)) * len(classes) > 70
            ax.set_xticks(
                range(len(classes)),
                [shortened(name, 20) for name in classes],
                rotation=45 if slanted else 0,
                ha="right" if slanted else "center",
                rotation_mode="anchor" if slanted else "default",
            )
            ax.tick_params(axis="x", length=0)
        else:
            ax.set_xlabel("classes, the largest in training first")
        ax.grid(False, axis="x")
        ax.yaxis.set_major_formatter("{x:,.0f}")
        ax.set_xlim(-0.7, len(classes) - 0.3)
        ax.set_ylabel("images")
        ax.legend(fontsize=8, frameon=False, ncols=len(counts), loc="lower right", bbox_to_anchor=(1, 1))


def draw_sizes(path: Path, sizes: Mapping[str, Sequence[tuple[int, int]]]) -> None:
    """Write a chart of widths and heights.

    Args:
        path: the picture.
        sizes: height and width of images, by the name of the part.
    """
    with axes(path, width=4.8, height=4.2) as ax:
        for number, (part, found) in enumerate(sizes.items()):
            heights, widths = np.array(found).T
            told = f"{part}: median {np.median(widths):g} × {np.median(heights):g}"
            ax.scatter(widths, heights, s=14, color=COLORS[number], alpha=0.4, linewidths=0, label=told)
        largest = 1.06 * max(max(size) for found in sizes.values() for size in found)
        ax.plot([0, largest], [0, largest], color="#bbbbbb", linewidth=0.8, linestyle=(0, (5, 3)), zorder=0)
        ax.set_xlim(0, largest)
        ax.set_ylim(0, largest)
        ax.set_aspect("equal")
        ax.set_xlabel("width, pixels")
        ax.set_ylabel("height, pixels")
        legend = ax.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
