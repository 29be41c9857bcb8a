"""Where in images a run's model looks for a class: pictures of class activation maps."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from hookline.analysis.cam import METHODS, activation_maps, grad_cam_library, overlay
from hookline.analysis.inputs import inputs_of
from hookline.analysis.layers import chosen_layers
from hookline.analysis.predicting import Item, items_of_images, read_ahead, top_of
from hookline.analysis.views import denormalized, pictures_of
from hookline.charts.contact_sheet import Row, draw_contact_sheet, shortened
from hookline.commands.of_run import open_run
from hookline.commands.outputs import output_folder
from hookline.config.checks import check_bool, check_choice, check_number
from hookline.config.cores import available_cores
from hookline.config.errors import ConfigError, did_you_mean
from hookline.config.files import make_folder, replacing
from hookline.config.instantiate import to_plain, told_at
from hookline.data.sample_loader import resolve_workers
from hookline.experiment.trained import Trained
from hookline.loggers.console import shown, shows_bar

log = logging.getLogger(__name__)

BROKEN = 1

# Images in a block of the sheet, and lines of the table on the screen.
COLUMNS = 8
LINES = 20

# A model's images may be of 32 pixels: pictures are enlarged by a whole number to about this.
SIDE = 224


@dataclass(frozen=True)
class Explained:
    """An image with its maps.

    Attributes:
        file: where it is from.
        picture: as the model sees it, `[H, W]` or `[H, W, 3]`, with values in [0, 1].
        overlays: the picture under each method's map, uint8 `[H, W, 3]`.
        target: the class that the maps explain.
        probability: of that class.
    """

    file: Path
    picture: np.ndarray
    overlays: dict[str, np.ndarray]
    target: str
    probability: float


def cam(cfg: DictConfig) -> None:
    """Write a picture for each image and method and `sheet.png`, and exit with 1 if an image cannot be read."""
    methods, layers = check(cfg)
    grad_cam_library()
    plain = to_plain(cfg, "")
    out, inputs = output_folder(plain["output_dir"], "cam"), inputs_of(plain["input"])
    if inputs.video is not None:
        raise ConfigError(f"input={cfg.input}: must be images, not a video")
    trained = open_run(cfg)
    make_folder(out)
    target = None if cfg.target is None else label_of(str(cfg.target), trained.classes)
    first: list[Explained] = []  # what the sheet and the table show
    errors: list[str] = []
    count = 0
    with tqdm(total=len(inputs.images), unit=" images", leave=False, disable=not shows_bar()) as bar:
        for batch in batches_of(trained, inputs.images, cfg.batch_size):
            bar.update(len(batch))
            errors += [f"{item.file}: {item.error}" for item, _ in batch if item.error is not None]
            good = [(item.file, image) for item, image in batch if image is not None]
            if not good:
                continue
            images = torch.stack([image for _, image in good]).to(trained.device)
            if not count:
                layers = chosen_layers(trained.model, images[:1], layers)
            for one in explained(
                trained, [file for file, _ in good], images, target, methods, layers or [], cfg.smooth
            ):
                count += 1
                write(one, count, out)
                first += [one] if len(first) < max(cfg.sheet, LINES) else []
    if not count:
        raise ConfigError(f"input={cfg.input}: no image can be read; {errors[0]}")
    told = ", ".join(layers or [])
    if cfg.sheet:
        draw_sheet(out / "sheet.png", first[: cfg.sheet], f"{', '.join(methods)} of {told}")
    report(first, count)
    log.info("layer: %s", told)
    log.info("%s%d images: %s", "sheet.png, " if cfg.sheet else "", count * len(methods), shown(out))
    if errors:
        log.warning("%d of %d cannot be read, and were left out:", len(errors), len(inputs.images))
        for line in errors:
            log.warning(line)
        sys.exit(BROKEN)


def batches_of(trained: Trained, paths: Sequence[Path], batch_size: int) -> Iterator[list[tuple[Item, Tensor | None]]]:
    """Yield the images as the model gets them, in batches; for a broken one None, and an error in its item."""
    workers = resolve_workers("auto", cores=available_cores(), device=trained.device)
    ready = read_ahead(items_of_images(paths), trained.transforms, workers=workers, ahead=2 * batch_size)
    while batch := list(islice(ready, batch_size)):
        yield batch


def check(cfg: DictConfig) -> tuple[list[str], list[str] | None]:
    """Return the methods and the names of the layers.

    Raises:
        ConfigError: a key has a value that it cannot have.
    """
    plain = to_plain(cfg, "")
    methods = plain["method"] if isinstance(plain["method"], list) else [plain["method"]]
    layers = plain["layer"] if isinstance(plain["layer"], list | None) else [plain["layer"]]
    with told_at(""):
        check_number("batch_size", cfg.batch_size, gt=0, integer=True)
        check_number("sheet", cfg.sheet, ge=0, integer=True)
        check_bool("smooth", cfg.smooth)
        for method in methods or [None]:
            check_choice("method", method, list(METHODS))
    return list(dict.fromkeys(methods)), [str(name) for name in layers] if layers else None


def label_of(target: str, classes: Sequence[str]) -> int:
    """Return the label of a class that is given by its name or number.

    Raises:
        ConfigError: there is no such class.
    """
    if target in classes:
        return classes.index(target)
    if target.isdigit() and int(target) < len(classes):
        return int(target)
    some = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
    near = did_you_mean(target, classes)
    raise ConfigError(f"target={target}: there is no such class.{near} It can be a number or one of: {some}")


def explained(
    trained: Trained,
    files: Sequence[Path],
    images: Tensor,
    target: int | None,
    methods: Sequence[str],
    layers: Sequence[str],
    smooth: bool,
) -> list[Explained]:
    """Return a batch of images with their maps."""
    top = top_of(trained.forward, images, len(trained.classes))
    targets = [labels[0] if target is None else target for labels, _ in top]
    maps = {
        method: activation_maps(trained.model, images, targets, method=method, layers=layers, smooth=smooth)
        for method in methods
    }
    pictures = pictures_of(denormalized(images, trained.transforms.batches))
    return [
        Explained(
            file,
            picture,
            {method: overlay(picture, its[number]) for method, its in maps.items()},
            trained.classes[targets[number]],
            dict(zip(*top[number], strict=True))[targets[number]],
        )
        for number, (file, picture) in enumerate(zip(files, pictures, strict=True))
    ]


def write(one: Explained, number: int, out: Path) -> None:
    """Write an image's overlays; the number tells images of the same name apart."""
    for method, pixels in one.overlays.items():
        times = max(1, round(SIDE / max(pixels.shape[:2])))
        with replacing(out / f"{number:04}_{one.file.stem}_{method}.png") as path:
            Image.fromarray(pixels.repeat(times, axis=0).repeat(times, axis=1)).save(path)


def draw_sheet(path: Path, found: Sequence[Explained], title: str) -> None:
    """Draw the images in blocks, each method's overlays below them."""
    rows = []
    for start in range(0, len(found), COLUMNS):
        block = found[start : start + COLUMNS]
        told = [f"{shortened(one.target, 11)} {100 * one.probability:.0f} %" for one in block]
        names = [f"{shortened(one.file.name)}\n{words}" for one, words in zip(block, told, strict=True)]
        rows.append(Row("image", [one.picture for one in block], names))
        rows += [Row(name, [one.overlays[name] / 255 for one in block]) for name in block[0].overlays]
    with replacing(path) as beside:
        draw_contact_sheet(beside, rows, title, dpi=200)


def report(found: Sequence[Explained], count: int) -> None:
    """Tell which classes were explained."""
    column = max(len(str(one.file)) for one in found[:LINES])
    for one in found[:LINES]:
        log.info("%-*s  %s %.1f %%", column, one.file, one.target, 100 * one.probability)
    if count > LINES:
        log.info("... and %d more images", count - LINES)
