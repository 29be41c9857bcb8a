"""Draw what an evaluation found: confusion matrix, ROC and precision-recall curves, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hookline.charts.axes import axes
from hookline.charts.contact_sheet import shortened
from hookline.charts.lr_curve import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# With more classes than this their names, or the numbers in the cells, cannot be read any more.
MAX_NAMES, MAX_NUMBERS = 40, 20
# Curves that have a colour and a name: those of the classes with the least area.
NAMED = 6

Curve = tuple[np.ndarray, np.ndarray]


def draw_confusion(path: Path, classes: Sequence[str], counts: np.ndarray) -> None:
    """Write a picture of a confusion matrix: each row in percent of the samples of its class.

    Args:
        path: the picture.
        classes: the names of the classes.
        counts: `[classes, classes]`: rows are labels, columns what the model says.
    """
    total = counts.sum(axis=1, keepdims=True)
    shares = 100 * counts / np.maximum(total, 1)
    named = len(classes) <= MAX_NAMES
    side = min(9.0, max(4.2, 1.6 + 0.36 * len(classes))) if named else 6.4
    with axes(path, side + 0.6, side) as ax:
        ax.grid(False)
        image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        ax.figure.colorbar(image, ax=ax, shrink=0.8, label="% of the class")
        if named:
            names = [shortened(name, 18) for name in classes]
            long = max(map(len, names)) > 2
            ax.set_xticks(range(len(classes)), names, rotation=90 if long else 0)
            ax.set_yticks(range(len(classes)), names)
            ax.tick_params(length=0)
        if len(classes) <= MAX_NUMBERS:
            for row, column in zip(*np.nonzero(counts), strict=True):
                color = "white" if shares[row, column] > 55 else "black"
                ax.text(column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=7, color=color)
        ax.set_xlabel("prediction")
        ax.set_ylabel("label")


def draw_roc(path: Path, curves: Mapping[str, Curve], areas: Mapping[str, float]) -> None:
    """Write the ROC curve of each class against all others.

    Args:
        path: the picture.
        curves: false and true positive rates in [0, 1], by the name of the class.
        areas: the area under each in percent.
    """
    with axes(path, 4.8, 4.2) as ax:
        _draw_curves(ax, curves, areas, "area")
        ax.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8, linestyle=(0, (5, 3)), zorder=0)
        ax.set_xlabel("false positive rate")
        ax.set_ylabel("true positive rate")


def draw_precision_recall(path: Path, curves: Mapping[str, Curve], precisions: Mapping[str, float]) -> None:
    """Write the precision-recall curve of each class against all others.

    Args:
        path: the picture.
        curves: recall and precision in [0, 1], by the name of the class.
        precisions: the average precision of each in percent.
    """
    with axes(path, 4.8, 4.2) as ax:
        _draw_curves(ax, curves, precisions, "AP")
        ax.set_xlabel("recall")
        ax.set_ylabel("precision")


def draw_calibration(path: Path, counts: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray, ece: float) -> None:
    """Write a reliability diagram: accuracy against confidence, and how many samples each bin has.

    Args:
        path: the picture.
        counts: samples in each bin `[bins]`, the bins being of equal width.
        confidence: the mean in each bin, in percent; NaN for an empty one.
        accuracy: the same.
        ece: the expected calibration error in percent.
    """
    bins = len(counts)
    centres, width = 100 * (np.arange(bins) + 0.5) / bins, 100 / bins
    with axes(path, 4.8, 4.2) as ax:
        there = counts > 0
        ax.bar(centres[there], accuracy[there], 0.9 * width, color=COLORS[0], label="accuracy")
        share = 100 * counts / max(1, counts.sum())
        ax.step(
            np.linspace(0, 100, bins + 1), np.append(share, share[-1]), where="post",
            color=COLORS[1], linewidth=1, label="share of the samples",
        )  # fmt: skip
        ax.plot([0, 100], [0, 100], color="#777777", linewidth=0.8, linestyle=(0, (5, 3)), label="perfect calibration")
        ax.plot(confidence[there], accuracy[there], "o", color="black", markersize=2.5, label="mean confidence")
        ax.set_xlim(0, 100)
        ax.set_ylim(0, 103)
        ax.set_xlabel("confidence, %")
        ax.set_ylabel("%")
        ax.set_title(f"expected calibration error {ece:.2f} %", fontsize=9)
        ax.legend(fontsize=7, frameon=False, loc="upper left")


def _draw_curves(ax: Axes, curves: Mapping[str, Curve], values: Mapping[str, float], word: str) -> None:
    worst = sorted(curves, key=lambda name: values[name])[:NAMED]
    for name, (x, y) in curves.items():
        if name not in worst:
            ax.plot(x, y, color="#cccccc", linewidth=0.6, zorder=1)
    for number, name in enumerate(worst):
        told = f"{shortened(name, 18)}  {word} {values[name]:.2f} %"
        ax.plot(*curves[name], color=COLORS[number], linewidth=1.2, label=told, zorder=2)
    others = len(curves) - len(worst)
    if others:
        ax.plot([], [], color="#cccccc", label=f"{others} other class{'es' * (others > 1)}")
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
    ax.legend(fontsize=7, frameon=False, title="the classes with the least" if others else None, title_fontsize=7)
