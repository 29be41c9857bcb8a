"""The files of an evaluation: numbers, tables and pictures of what a model says of labelled samples."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hookline.analysis.views import pictures_of
from hookline.charts.contact_sheet import Row, draw_contact_sheet, shortened
from hookline.charts.evaluation import draw_calibration, draw_confusion, draw_precision_recall, draw_roc
from hookline.config.files import replacing
from hookline.data import Source
from hookline.metrics.scores import BINS, Samples, ece

# Classes that predictions.csv tells of each sample, points of a class's curve in the tables, columns of the sheet.
TOP, POINTS, COLUMNS = 5, 200, 8


def write_tables(folder: Path, samples: Samples, classes: Sequence[str], source: Source) -> None:
    """Write `per_class.csv`, `confusion.csv` and `predictions.csv`; shares are in percent, probabilities in [0, 1].

    A file's path is a sample's name; a sample of tensors has its number.
    """
    of = samples.of_classes
    names = ("precision", "recall", "f1", "support", "ap", "auroc")
    rows = ([name, *(_cell(of[key][number]) for key in names)] for number, name in enumerate(classes))
    write_table(folder / "per_class.csv", ["class", *names[:4], "average_precision", "auroc"], rows)
    confusion = ([name, *row.tolist()] for name, row in zip(classes, samples.confusion, strict=True))
    write_table(folder / "confusion.csv", ["label \\ prediction", *classes], confusion)
    heading = ["sample", "label", "prediction"]
    k = min(TOP, len(classes))
    heading += [f"{word}{place + 1}" for place in range(k) for word in ("class", "probability")]
    write_table(folder / "predictions.csv", heading, _predictions(samples, classes, source, k))


def write_curves(folder: Path, samples: Samples, classes: Sequence[str]) -> None:
    """Write `roc.csv`, `pr.csv` and `calibration.csv`, and a picture of each and of the confusion matrix."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    roc, pr = {}, {}
    for label in np.unique(samples.labels):
        own, shares = samples.labels == label, samples.probabilities[:, label]
        precision, recall, _ = precision_recall_curve(own, shares, drop_intermediate=True)
        pr[classes[label]] = _thinned(recall[::-1], precision[::-1])
        if not own.all():
            fpr, tpr, _ = roc_curve(own, shares)
            roc[classes[label]] = _thinned(fpr, tpr)
    write_table(folder / "roc.csv", ["class", "false_positive_rate", "true_positive_rate"], _points(roc))
    write_table(folder / "pr.csv", ["class", "recall", "precision"], _points(pr))
    of = {name: dict(zip(classes, samples.of_classes[name].tolist(), strict=True)) for name in ("auroc", "ap")}
    with replacing(folder / "roc.png") as path:
        draw_roc(path, roc, of["auroc"])
    with replacing(folder / "pr.png") as path:
        draw_precision_recall(path, pr, of["ap"])
    with replacing(folder / "confusion.png") as path:
        draw_confusion(path, classes, samples.confusion)
    counts = np.bincount(samples.bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        confidence = 100 * np.bincount(samples.bins, samples.confidence, minlength=BINS) / counts
        accuracy = 100 * np.bincount(samples.bins, samples.top(1), minlength=BINS) / counts
    edges = 100 * np.arange(BINS + 1) / BINS
    columns = zip(edges[:-1], edges[1:], counts, confidence, accuracy, strict=True)
    heading = ["from", "to", "samples", "confidence", "accuracy"]
    write_table(folder / "calibration.csv", heading, ([_cell(value) for value in row] for row in columns))
    with replacing(folder / "calibration.png") as path:
        draw_calibration(path, counts, confidence, accuracy, ece(samples))


def write_mistakes(folder: Path, samples: Samples, classes: Sequence[str], source: Source, count: int) -> bool:
    """Draw `mistakes.png`, the wrong predictions with the largest loss, and say whether there are any."""
    wrong = np.flatnonzero(samples.predicted != samples.labels)
    worst = wrong[np.argsort(-samples.losses[wrong], kind="stable")][:count]
    (folder / "mistakes.png").unlink(missing_ok=True)  # those of an earlier evaluation
    if not len(worst):
        return False
    rows = []
    for start in range(0, len(worst), COLUMNS):
        block = worst[start : start + COLUMNS]
        images = pictures_of([source.read(int(samples.indices[place])) for place in block])
        captions = [_caption(samples, classes, place) for place in block]
        rows.append(Row("", images, captions))
    with replacing(folder / "mistakes.png") as path:
        draw_contact_sheet(path, rows, "the worst mistakes: label, then prediction and its probability")
    return True


def write_table(path: Path, heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file."""
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(heading)
        writer.writerows(rows)


def _caption(samples: Samples, classes: Sequence[str], place: int) -> str:
    label, said = classes[samples.labels[place]], classes[samples.predicted[place]]
    return f"{shortened(label)}\n→ {shortened(said, 8)} {100 * samples.confidence[place]:.0f} %"


def _predictions(samples: Samples, classes: Sequence[str], source: Source, k: int) -> Iterable[list[Any]]:
    order = samples.logits.topk(k).indices.numpy()
    for place, index in enumerate(samples.indices.tolist()):
        name = source.name_of(index)
        row = [index if name == f"sample {index}" else name, classes[samples.labels[place]]]
        row.append(classes[samples.predicted[place]])
        for label in order[place]:
            row += [classes[label], f"{samples.probabilities[place, label]:.6g}"]
        yield row


def _points(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Iterable[list[Any]]:
    for name, (x, y) in curves.items():
        for a, b in zip(x.tolist(), y.tolist(), strict=True):
            yield [name, f"{a:.6g}", f"{b:.6g}"]


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    chosen = np.unique(np.linspace(0, len(x) - 1, min(POINTS, len(x))).round().astype(int))
    return x[chosen], y[chosen]


def _cell(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.6g}"
    return int(value)
