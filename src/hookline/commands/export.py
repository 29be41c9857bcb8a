"""What a run has trained, as files for other programs, verified on real images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from hookline.analysis import export as exporting
from hookline.analysis.export import Normalized, Subject
from hookline.analysis.export_formats import FORMATS, GRAPHS
from hookline.commands.of_run import folder_in_run, open_run
from hookline.config.checks import check_bool, check_choice, check_number
from hookline.config.errors import ConfigError, ParameterError
from hookline.config.files import write_json
from hookline.config.instantiate import told_at
from hookline.data import Normalize
from hookline.data.decode import DecodeError
from hookline.data.files import image_suffixes
from hookline.data.transforms.sample import Resize
from hookline.experiment import build_source
from hookline.experiment.trained import Trained, Transforms
from hookline.loggers.console import shown
from hookline.models.deployed import deployed_form

log = logging.getLogger(__name__)


def export(cfg: DictConfig) -> None:
    """Write the model's files and `export.json`, and tell how they were verified."""
    check(cfg)
    trained = open_run(cfg, device="cpu")
    normalize, inputs = split_normalization(trained, cfg.normalize)
    pixels = pixels_of(cfg, trained)
    normalized = trained.transforms.batch(pixels).float()
    expected = exporting.in_batches(trained.model, normalized, cfg.batch_size)
    subject = Subject(
        model=formed(cfg, trained, normalize),
        images=inputs.batch(pixels).float() / (255 if cfg.normalize else 1),
        batch_size=cfg.batch_size,
        about=about(cfg, trained, normalize),
        preprocessing=preprocessing(trained, normalize),
    )
    given = cfg.output_dir
    out = Path(given).expanduser() if given else folder_in_run(trained, cfg, "export", cfg.format)
    with told_at(""):
        difference = exporting.export(FORMATS[cfg.format], subject, expected, out, cfg.tolerance)
    write_json(out / "export.json", {**subject.about, "format": cfg.format, "largest_difference": difference.largest})
    log.info("%s of epoch %d: %s", trained.weights, trained.epoch, trained.checkpoint)
    log.info(
        "verified on %d images: the largest difference of logits is %.2g, their largest is %.3g, and %s",
        *(difference.images, difference.largest, float(expected.abs().max())),
        f"{difference.decisions} of the classes are others" if difference.decisions else "all classes are the same",
    )
    log.info("%s: %s", ", ".join(sorted(path.name for path in out.iterdir())), shown(out))


def check(cfg: DictConfig) -> None:
    """Raise `ConfigError` where a key has a value that it cannot have."""
    with told_at(""):
        check_choice("format", cfg.format, list(FORMATS))
        check_bool("normalize", cfg.normalize)
        check_number("samples", cfg.samples, gt=0, integer=True)
        check_number("tolerance", cfg.tolerance, gt=0)
        if cfg.deployed is not None:
            check_bool("deployed", cfg.deployed)
        if cfg.deployed and cfg.format == "timm":
            raise ParameterError(
                "deployed", True, "false or null with format=timm: timm makes the form that is trained"
            )
        if cfg.batch_size is not None:
            check_number("batch_size", cfg.batch_size, gt=0, integer=True)
            if cfg.format not in GRAPHS:
                raise ParameterError("batch_size", cfg.batch_size, f"null with format={cfg.format}, which has no graph")
        for key in ("output_dir", "images"):
            if cfg[key] is not None and (not isinstance(cfg[key], str) or not cfg[key]):
                raise ParameterError(key, cfg[key], "a path, or null")


def split_normalization(trained: Trained, inside: bool) -> tuple[Normalize | None, Transforms]:
    """Return the run's normalisation, and the transforms of the images that the export gets.

    Args:
        trained: the run's model.
        inside: whether the normalisation becomes a part of the model.
    """
    transforms = trained.transforms
    last = next(reversed(transforms.batches.values()), None)
    if inside and not isinstance(last, Normalize):
        raise ConfigError("normalize=true: must be false: the run does not normalise its images, or not at the end")
    found = next((t for t in reversed(transforms.batches.values()) if isinstance(t, Normalize)), None)
    if not inside:
        return found, transforms
    before = {name: transform for name, transform in transforms.batches.items() if transform is not last}
    return found, Transforms(transforms.samples, before, transforms.channels, transforms.size)


def pixels_of(cfg: DictConfig, trained: Trained) -> Tensor:
    """Return real images, as they are before the transforms of batches: uint8 `[N, C, H, W]`."""
    if cfg.images is None:
        try:
            source = build_source(trained.cfg, "val")
            found: list[Any] = [source.read(index) for index in range(min(cfg.samples, len(source)))]
        except ConfigError as error:
            told = "the run's validation images, by which an export is verified, are not to be had"
            raise ConfigError(f"images=null: {told} ({error}); give images=FOLDER") from error
    else:
        place = Path(cfg.images).expanduser()
        files = sorted(place.rglob("*")) if place.is_dir() else [place] if place.is_file() else []
        found = [file for file in files if file.suffix.lower() in image_suffixes()][: cfg.samples]
    if not found:
        raise ConfigError(f"images={cfg.images}: must be an image, or a folder with images")
    try:
        return torch.stack([trained.transforms.pixels(image) for image in found])
    except DecodeError as error:
        raise ConfigError(f"images={cfg.images}: {error}") from error
    except RuntimeError as error:  # of a run whose images are all of one size, which these are not
        raise ConfigError(f"images={cfg.images}: have sizes that do not fit into one batch; give one image") from error


def formed(cfg: DictConfig, trained: Trained, normalize: Normalize | None) -> torch.nn.Module:
    """Return the model in the form that is exported."""
    deployed = cfg.format in GRAPHS if cfg.deployed is None else cfg.deployed
    model = deployed_form(trained.model) if deployed else trained.model
    if cfg.normalize and normalize is not None:
        return Normalized(model, normalize.mean, normalize.std).eval()
    return model


def about(cfg: DictConfig, trained: Trained, normalize: Normalize | None) -> dict[str, Any]:
    """Return what whoever opens the files has to know."""
    channels, height, width = trained.shape
    node = trained.cfg.model
    given: dict[str, Any] = {
        "classes": trained.classes,
        "input": f"float32 [batch, {channels}, {height}, {width}], {'RGB' if channels == 3 else 'grey'}, "
        + ("pixels in [0, 1]" if cfg.normalize else "normalised: (pixels in [0, 1] - mean) / std"),
        "output": f"float32 [batch, {len(trained.classes)}], logits; softmax gives probabilities",
        "model": str(node.get("model_name") or node.get("name") or node._target_),
        "weights": f"{trained.weights} of epoch {trained.epoch}",
    }
    if normalize is not None:
        given |= {"mean": normalize.mean, "std": normalize.std}
    return given


def preprocessing(trained: Trained, normalize: Normalize | None) -> dict[str, Any]:
    """Return the run's validation transforms by timm's names, as far as timm has words for them."""
    resize = next((t for t in trained.transforms.samples.values() if isinstance(t, Resize)), None)
    found: dict[str, Any] = {"input_size": trained.shape, "crop_pct": 1.0, "crop_mode": "squash"}
    if resize is not None:
        crop_pct, interpolation = trained.shape[1] / resize.target[0], resize.interpolation.value
        found |= {"crop_pct": crop_pct, "crop_mode": resize.crop_mode, "interpolation": interpolation}
    else:
        found["interpolation"] = "bilinear"
    if normalize is not None:
        found |= {"mean": tuple(normalize.mean), "std": tuple(normalize.std)}
    return found
