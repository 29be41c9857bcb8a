"""What a run's model says of images or of a video: on the screen, as CSV and JSON, and as pictures."""

from __future__ import annotations

import csv
import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from tqdm import tqdm

from hookline.analysis.inputs import Inputs, inputs_of
from hookline.analysis.predicting import Item, items_of_images, items_of_video
from hookline.analysis.predicting import predict as predict_items
from hookline.analysis.views import pictures_of
from hookline.charts.predictions import Told, annotated, draw_predictions, shortened
from hookline.commands.of_run import open_run
from hookline.commands.outputs import output_folder
from hookline.config.checks import check_bool, check_number
from hookline.config.cores import available_cores
from hookline.config.errors import ConfigError
from hookline.config.files import make_folder, replacing, write_json
from hookline.config.instantiate import to_plain, told_at
from hookline.data.decode import decode
from hookline.data.sample_loader import resolve_workers
from hookline.data.video import VideoError, VideoWriter, frames_of, video_info
from hookline.experiment.trained import Trained, resized
from hookline.loggers.console import columns, shown, shows_bar

log = logging.getLogger(__name__)

BROKEN = 1

# Lines of the table on the screen; the files have all.
LINES = 20
# Classes whose counts are told, the most frequent ones.
CLASSES = 6
# Letters of a file's name on the screen.
NAME = 32


def predict(cfg: DictConfig) -> None:
    """Write `predictions.csv` and `.json` and pictures, and exit with 1 if an image cannot be read."""
    check(cfg)
    plain = to_plain(cfg, "")
    out, inputs = output_folder(plain["output_dir"], "predict"), inputs_of(plain["input"])
    if inputs.video is not None:
        check_video(inputs.video)
    trained = open_run(cfg)
    make_folder(out)
    started = time.perf_counter()
    items = predicted(cfg, trained, inputs)
    seconds = time.perf_counter() - started
    good = [item for item in items if item.error is None]
    if not good:
        what = "frame" if inputs.video else "image"
        raise ConfigError(f"input={cfg.input}: no {what} can be read; {items[0].file}: {items[0].error}")
    written = write(cfg, trained, items, out)
    for line in table_of_video(trained, good) if inputs.video else table_of_images(trained, good, columns()):
        log.info(line)
    what = "frames" if inputs.video else "images"
    log.info("%s %s in %.1f s, %.0f a second", f"{len(good):,}", what, seconds, len(good) / seconds)
    log.info("%s: %s", ", ".join(written), shown(out))
    if broken := [item for item in items if item.error is not None]:
        log.warning("%d of %d cannot be read, and were left out:", len(broken), len(items))
        for item in broken:
            log.warning("%s: %s", item.file, item.error)
        sys.exit(BROKEN)


def check(cfg: DictConfig) -> None:
    """Raise `ConfigError` where a key has a value that it cannot have."""
    with told_at(""):
        for key in ("top_k", "batch_size", "every"):
            check_number(key, cfg[key], gt=0, integer=True)
        check_number("sheet", cfg.sheet, ge=0, integer=True)
        check_bool("annotate", cfg.annotate)
        if cfg.workers != "auto":
            check_number("workers", cfg.workers, gt=0, le=1024, integer=True)


def check_video(path: Path) -> None:
    """Raise `ConfigError` where a file is no video or has no frames, or PyAV is not there to read it."""
    try:
        next(frames_of(path))
    except VideoError as error:
        raise ConfigError(f"input={path}: {error}") from error


def predicted(cfg: DictConfig, trained: Trained, inputs: Inputs) -> list[Item]:
    """Return all items with their classes, or with an error; a bar shows how far it is."""
    if inputs.video is not None:
        items = items_of_video(inputs.video, cfg.every)
        total = -(-video_info(inputs.video).count // cfg.every) or None
    else:
        items, total = items_of_images(inputs.images), len(inputs.images)
    found = predict_items(
        items,
        trained.transforms,
        trained.forward,
        device=trained.device,
        batch_size=cfg.batch_size,
        workers=resolve_workers(cfg.workers, cores=available_cores(), device=trained.device),
        top_k=cfg.top_k,
    )
    return list(tqdm(found, "predicting", total, unit=" images", leave=False, disable=not shows_bar()))


def write(cfg: DictConfig, trained: Trained, items: Sequence[Item], out: Path) -> list[str]:
    """Write all files, and return their names."""
    write_csv(out / "predictions.csv", trained.classes, items)
    write_json(
        out / "predictions.json",
        {
            "run": str(trained.run_dir),
            "checkpoint": str(trained.checkpoint),
            "weights": trained.weights,
            "classes": trained.classes,
            "predictions": [as_json(trained.classes, item) for item in items],
        },
    )
    written = ["predictions.csv", "predictions.json"]
    good = [item for item in items if item.error is None]
    if good[0].frame is None:
        if cfg.sheet:
            first = good[: cfg.sheet]
            pictures = [decode(item.file.read_bytes()) for item in first]
            with replacing(out / "sheet.png") as path:
                draw_predictions(path, pictures_of(small(pictures)), [told(trained, item) for item in first])
            written.append("sheet.png")
    elif cfg.annotate:
        with replacing(out / "annotated.mp4") as path:
            annotate(path, trained, good)
        written.append("annotated.mp4")
    return written


def small(images: Sequence[Any], side: int = 256) -> list[Any]:
    """Return images `[C, H, W]` shrunk so that a sheet of many large ones is still drawn quickly."""
    found = []
    for image in images:
        step = max(1, max(image.shape[1:]) // side)
        height, width = image.shape[1] // step or 1, image.shape[2] // step or 1
        found.append((resized(image.float().unsqueeze(0), (height, width))[0] / 255).clamp(0, 1))
    return found


def annotate(path: Path, trained: Trained, items: Sequence[Item]) -> None:
    """Write the video once more, up to its last frame that was predicted, with the predictions on it."""
    source, said = items[0].file, {item.frame: told(trained, item) for item in items}
    last, now = max(item.frame or 0 for item in items), told(trained, items[0])
    with VideoWriter(path, video_info(source).rate) as video:
        for frame in tqdm(frames_of(source), "drawing", last + 1, leave=False, disable=not shows_bar()):
            now = said.get(frame.number, now)
            video.write(annotated(frame.pixels, now))
            if frame.number == last:
                break


def told(trained: Trained, item: Item) -> Told:
    """Return what pictures say of an item."""
    return Told(item.file.name, [trained.classes[label] for label in item.labels], item.probabilities)


def place_of(item: Item) -> dict[str, Any]:
    """Return where an item is from, by the names of the columns."""
    if item.frame is None or item.seconds is None:
        return {"file": str(item.file)}
    return {"file": str(item.file), "frame": item.frame, "seconds": round(item.seconds, 4)}


def as_json(classes: Sequence[str], item: Item) -> dict[str, Any]:
    """Return an item with its classes, or its error."""
    if item.error is not None:
        return {**place_of(item), "error": item.error}
    pairs = zip(item.labels, item.probabilities, strict=True)
    return {
        **place_of(item),
        "top": [{"class": classes[label], "label": label, "probability": share} for label, share in pairs],
    }


def write_csv(path: Path, classes: Sequence[str], items: Sequence[Item]) -> None:
    """Write a row for each item: where it is from, its classes with their probabilities, or its error."""
    top_k = max(len(item.labels) for item in items)
    named = [name for place in range(1, top_k + 1) for name in (f"class_{place}", f"probability_{place}")]
    places = list(dict.fromkeys(name for item in items for name in place_of(item)))
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, [*places, *named, "error"], restval="")
        writer.writeheader()
        for item in items:
            values = [
                value
                for label, share in zip(item.labels, item.probabilities, strict=True)
                for value in (classes[label], f"{share:.6g}")
            ]
            writer.writerow({**place_of(item), **dict(zip(named, values, strict=False)), "error": item.error or ""})


def table_of_images(trained: Trained, items: Sequence[Item], width: int) -> list[str]:
    """Return a line for each of the first images."""
    names = [shortened(str(item.file), NAME) for item in items[:LINES]]
    column = max(map(len, names))
    lines = []
    for name, item in zip(names, items, strict=False):
        line = f"{name:<{column}}  {said_of(trained, item, 0)}"
        for place in range(1, len(item.labels)):
            longer = f"{line}, {said_of(trained, item, place)}"
            if len(longer) > width:
                break
            line = longer
        lines.append(line)
    counts = Counter(trained.classes[item.labels[0]] for item in items).most_common()
    frequent = ", ".join(f"{name} {count}" for name, count in counts[:CLASSES])
    others = f", and {len(counts) - CLASSES} more classes" if len(counts) > CLASSES else ""
    return [*lines, *more(len(items), "images"), f"in all: {frequent}{others}"]


def said_of(trained: Trained, item: Item, place: int) -> str:
    """Return a class with its probability in percent."""
    return f"{trained.classes[item.labels[place]]} {100 * item.probabilities[place]:.1f} %"


def table_of_video(trained: Trained, items: Sequence[Item]) -> list[str]:
    """Return a line for each stretch of a video in which the most probable class is the same."""
    stretches: list[list[Item]] = []
    for item in items:
        if not stretches or stretches[-1][0].labels[0] != item.labels[0]:
            stretches.append([])
        stretches[-1].append(item)
    lines = [
        f"{clock(its[0])} to {clock(its[-1])}  {trained.classes[its[0].labels[0]]}"
        f" {100 * sum(item.probabilities[0] for item in its) / len(its):.1f} %  ({len(its)} frames)"
        for its in stretches[:LINES]
    ]
    return [*lines, *more(len(stretches), "changes")]


def more(count: int, what: str) -> list[str]:
    """Return the line that says how much of a table is not shown, if anything."""
    return [f"... and {count - LINES:,} more {what}: predictions.csv has all"] if count > LINES else []


def clock(item: Item) -> str:
    """Return when a frame is shown: `m:ss.s`."""
    minutes, seconds = divmod(round(item.seconds or 0, 1), 60)
    return f"{int(minutes)}:{seconds:04.1f}"
