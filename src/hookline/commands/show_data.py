"""Pictures of a run's data: samples as the model sees them, what each transform does, classes and sizes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from hookline.analysis.views import View, views_of
from hookline.charts.contact_sheet import Row, draw_contact_sheet, shortened
from hookline.charts.data_spread import draw_class_counts, draw_sizes
from hookline.config.checks import check_bool, check_number
from hookline.config.files import replacing
from hookline.config.instantiate import locate, told_at
from hookline.data import Normalize, Source
from hookline.data.parallel import in_order
from hookline.data.pictures import pictures_of
from hookline.data.source import SPLITS, WORDS
from hookline.experiment import build_loss, build_mix, build_source, build_train_loader, require, with_cache
from hookline.loggers.console import shown
from hookline.loggers.event_file import EventFile

log = logging.getLogger(__name__)

# Where a config names the transforms of training images, in the order in which they act.
PLACES = ("augment.train", "data.train_transforms", "data.transforms")
COLUMNS = 8
CPU = torch.device("cpu")


def show_data(cfg: DictConfig) -> None:
    """Write `samples.png`, `transforms.png`, `classes.png` and `sizes.png`, and say where."""
    require(cfg, "data")
    check(cfg)
    out = Path(HydraConfig.get().runtime.output_dir)
    sources = {split: build_source(cfg, split) for split in SPLITS}
    for source in sources.values():
        source.check()
    written = [draw_samples(cfg, sources["train"], out / "samples.png")]
    if transforms_of(cfg):
        written.append(draw_transforms(cfg, sources["train"], out / "transforms.png"))
    counts = {WORDS[split]: source.class_counts.tolist() for split, source in sources.items()}
    with replacing(out / "classes.png") as path:
        draw_class_counts(path, sources["train"].classes, counts)
    written.append(out / "classes.png")
    sizes = {WORDS[split]: sizes_of(source, cfg.show.measured) for split, source in sources.items()}
    if len(distinct := {size for found in sizes.values() for size in found}) == 1:
        ((height, width),) = distinct
        log.info("every image is %d pixels wide and %d high", width, height)
    else:
        with replacing(out / "sizes.png") as path:
            draw_sizes(path, sizes)
        written.append(out / "sizes.png")
    if cfg.show.tensorboard:
        write_tensorboard(out / "tensorboard", written)
    log.info("%s: %s", ", ".join(path.name for path in written), shown(out))


def check(cfg: DictConfig) -> None:
    """Raise `ConfigError` where `show` asks for what cannot be."""
    with told_at("show"):
        for key in ("samples", "transforms", "epoch", "measured"):
            check_number(key, cfg.show[key], gt=0, integer=True)
        check_bool("tensorboard", cfg.show.tensorboard)


def draw_samples(cfg: DictConfig, source: Source, path: Path) -> Path:
    """Draw the first samples of the epoch, before and after all that training does with them."""
    loss = build_loss(cfg, source, CPU) if cfg.get("loss") is not None else None
    loader = build_train_loader(cfg, with_cache(cfg, source), CPU, build_mix(cfg, loss, len(source.classes), CPU))
    views = views_of(loader, loader.transforms, cfg.show.epoch - 1, cfg.show.samples)
    rows = []
    for start in range(0, len(views), COLUMNS):
        block = views[start : start + COLUMNS]
        before = pictures_of([source.read(view.index) for view in block])
        labels = source.targets[[view.index for view in block]].tolist()
        rows.append(Row("before", before, [shortened(source.classes[label]) for label in labels]))
        mixed = [len(view.shares) > 1 for view in block]
        captions = [told_shares(source, view) for view in block] if any(mixed) else []
        rows.append(Row("after", [view.image for view in block], captions))
    with replacing(path) as beside:
        draw_contact_sheet(beside, rows, f"epoch {cfg.show.epoch}: the first samples, as the model sees them")
    return path


def told_shares(source: Source, view: View) -> str:
    """Return the classes of a mixed sample with their shares."""
    return "\n".join(f"{shortened(source.classes[label], 10)} {share:.2f}" for label, share in view.shares.items())


def draw_transforms(cfg: DictConfig, source: Source, path: Path) -> Path:
    """Draw what each transform does by itself, with the numbers that it draws in the run, and all together."""
    names = transforms_of(cfg)
    every = views_by(cfg, source, names)
    labels = [shortened(source.classes[next(iter(view.shares))]) for view in every]
    rows = [Row("before", pictures_of([source.read(view.index) for view in every]), labels)]
    for name in names:
        rows.append(Row(name.rpartition(".")[2], [view.image for view in views_by(cfg, source, [name])]))
    rows.append(Row("all", [view.image for view in every]))
    with replacing(path) as beside:
        draw_contact_sheet(beside, rows, "each transform alone, and all of them")
    return path


def transforms_of(cfg: DictConfig) -> list[str]:
    """Return the keys of the transforms that training images go through, but for normalisation."""
    found = []
    for place in PLACES:
        for name, node in (OmegaConf.select(cfg, place) or {}).items():
            key = f"{place}.{name}"
            # With a probability of 0 it is switched off, and would be a row that shows nothing.
            if node is not None and node.get("p") != 0 and locate(node.get("_target_"), key) is not Normalize:
                found.append(key)
    return found


def views_by(cfg: DictConfig, source: Source, names: Sequence[str]) -> list[View]:
    """Return the epoch's first samples with these transforms alone."""
    changed = cfg.copy()
    for name in transforms_of(cfg):
        if name not in names:
            OmegaConf.update(changed, name, None)
    # Images may have a size each where no transform gives them one: then only one fits into a batch, and a loader has
    # batches of one size. The order of the samples and what is drawn for each do not depend on it.
    changed.data.batch_size = 1
    OmegaConf.update(changed, "data.workers", 0, force_add=True)
    cached, views = with_cache(changed, source), []
    for number in range(min(cfg.show.transforms, len(source))):
        loader = build_train_loader(changed, cached, CPU)
        views += views_of(loader, loader.transforms, cfg.show.epoch - 1, 1, start=number)
    return views


def sizes_of(source: Source, count: int) -> list[tuple[int, int]]:
    """Return height and width of so many images from all over the source; None are read where it knows them."""
    if source.image_size:
        return [source.image_size]
    chosen = sorted({int(index) for index in np.linspace(0, len(source) - 1, min(count, len(source)))})

    def size_of(index: int) -> tuple[int, int]:
        height, width = source.read(index).shape[1:]
        return height, width

    return list(in_order(size_of, chosen))


def write_tensorboard(folder: Path, pictures: Sequence[Path]) -> None:
    """Write the pictures into an event file, as `data/samples` and so on."""
    file = EventFile(folder)
    for path in pictures:
        file.write_picture(f"data/{path.stem}", path.read_bytes(), step=0)
    file.close()
