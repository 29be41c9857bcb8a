"""What is done to single images: the group `augment`, and what a model expects of its images."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from hookline.config.errors import ConfigError
from hookline.config.instantiate import build, locate, to_plain, told_at

if TYPE_CHECKING:
    from hookline.data import Normalize, Source
    from hookline.data.transforms.sample import SampleTransform

log = logging.getLogger(__name__)

# For a model of which nothing else is known.
USUAL = {"size": 224, "interpolation": "bilinear", "crop_pct": 0.875, "crop_mode": "center"}

# What the keys are called where they are printed.
WORDS = {"size": "size", "interpolation": "interpolation", "crop_pct": "crop ratio", "crop_mode": "crop mode"}


def augments(cfg: DictConfig) -> bool:
    """Say whether anything is done to single images."""
    augment = cfg.get("augment") or {}
    return any(node is not None for split in ("train", "val") for node in (augment.get(split) or {}).values())


def resolve_augment(cfg: DictConfig, training: Source, *, tell: bool = True) -> None:
    """Replace `auto` in the group `augment` by what the model was made for, and print what images will be like.

    A model's mean and standard deviation are taken if it has one for each of the data's channels. What it does not say
    is the usual; mean and standard deviation are then the training images' own.

    Args:
        cfg: the config; it is changed.
        training: the training images.
        tell: whether to print anything.
    """
    from hookline.models.input import input_of

    augment = cfg.get("augment")
    if augment is None:
        return
    wanted = {key: augment[key] for key in (*USUAL, "mean", "std") if key in augment}
    open_keys = [key for key, value in wanted.items() if value in ("auto", "test")]
    own_keys = [key for key in ("mean", "std") if wanted.get(key, 0) is None and augments(cfg)]
    if not open_keys and not own_keys:
        _check(augment)
        return
    known, told_by = input_of(cfg.model, at_test=wanted.get("size") == "test") if open_keys else ({}, "")
    values: dict[str, Any] = {}
    origins = dict.fromkeys(wanted, "the config")
    for key in open_keys:
        if key in known and (key in USUAL or len(known[key]) == training.channels):
            values[key], origins[key] = known[key], told_by or "the model"
        elif key in USUAL:
            values[key], origins[key] = USUAL[key], "the usual"
        else:
            own_keys.append(key)
    if own_keys:
        with told_at("data"):
            moments = dict(zip(("mean", "std"), training.mean_and_std, strict=True))
        for key in own_keys:
            values[key], origins[key] = [round(value, 6) for value in moments[key]], "the training images"
        if not all(values.get("std") or [1]):
            raise ConfigError(
                "augment.std: the training images have a channel that is the same everywhere, so a deviation of 0; give"
                " a number > 0 for each channel, such as augment.std=[1]"
            )
    augment.update(values)
    _check(augment)
    if tell:
        log.info("images: %s", _described(augment, origins))


def build_augment(cfg: DictConfig, split: str) -> dict[str, SampleTransform]:
    """Return the per-sample transforms of a split, `train` or `val`, by name and in order.

    A null entry is left out, and so is one whose probability `p` is 0. A transform of torchvision's v2 becomes one
    whose random numbers are the sample's.
    """
    from torchvision.transforms import v2

    from hookline.data.transforms.sample import SampleTransform, V2Transform

    found: dict[str, SampleTransform] = {}
    wanted = "a subclass of hookline.data.SampleTransform, or a transform of torchvision.transforms.v2"
    for name, node in to_plain((cfg.get("augment") or {}).get(split) or {}, f"augment.{split}").items():
        if node is None:
            continue
        key = f"augment.{split}.{name}"
        plain = to_plain(node, key)
        target = locate(plain.get("_target_"), key)
        is_v2 = inspect.isclass(target) and issubclass(target, v2.Transform)
        built = build(plain, key, kind=v2.Transform if is_v2 else SampleTransform, wanted=wanted)
        transform = V2Transform(built) if is_v2 else built
        if split == "val" and transform.draws:
            raise ConfigError(f"{key}={target.__name__}: must be a transform without randomness (see augment.train)")
        if plain.get("p") != 0:
            found[name] = transform
    return found


def normalization(cfg: DictConfig, training: Source) -> Normalize:
    """Return what normalises images: by `augment.mean` and `augment.std`, or by the training images' own."""
    from hookline.data import Normalize
    from hookline.data.transforms.batched import check_channels

    augment = cfg.get("augment") or {}
    mean, std = augment.get("mean"), augment.get("std")
    if mean is None or std is None:
        own_mean, own_std = training.mean_and_std
        mean, std = mean or own_mean, std or own_std
    with told_at("augment"):
        check_channels("mean", list(mean))
        check_channels("std", list(std))
    for name, values in {"mean": mean, "std": std}.items():
        if len(values) not in (1, training.channels):
            raise ConfigError(
                f"augment.{name}={list(values)}: must have a number for each of the data's {training.channels} channels"
            )
    with told_at("augment"):
        wide = [list(values) * (training.channels // len(values)) for values in (mean, std)]
        return Normalize(*wide)


def _check(augment: DictConfig) -> None:
    """Raise `ConfigError` where a key that several transforms share has a value that none of them can take."""
    from hookline.data.transforms.batched import check_channels
    from hookline.data.transforms.sample.crops import Resize

    plain = to_plain(augment, "augment")
    with told_at("augment"):
        if "size" in plain:
            Resize(plain["size"], plain["crop_pct"], plain["crop_mode"], plain["interpolation"])
        for name in ("mean", "std"):
            if plain.get(name) is not None:
                check_channels(name, plain[name])


def _described(augment: DictConfig, origins: dict[str, str]) -> str:
    """Return what images will be like, the keys of one origin together."""
    parts: dict[str, list[str]] = {}
    for key, origin in origins.items():
        value = to_plain(augment, "augment")[key]
        if key == "size":
            shown = "{}x{}".format(*value if isinstance(value, list) else (value, value))
        elif isinstance(value, list):
            shown = "(" + ", ".join(f"{number:.4g}" for number in value) + ")"
        else:
            shown = "the training images'" if value is None else str(value)
        parts.setdefault(origin, []).append(f"{WORDS.get(key, key)} {shown}")
    return "; ".join(f"{', '.join(words)} (from {origin})" for origin, words in parts.items())
