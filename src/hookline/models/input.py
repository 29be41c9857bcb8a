"""What images a model was made for: their size, how they are resized, and by what they are normalised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.data import resolve_data_config
from timm.models import resolve_pretrained_cfg, split_model_name_tag

from hookline.config.instantiate import locate, to_plain
from hookline.models.build import check_timm_name, torchvision_model


def input_of(node: Mapping[str, Any], *, at_test: bool = False) -> tuple[dict[str, Any], str]:
    """Return what the model that a `model` node describes was made for, and who says so.

    The keys are `size` (a number, or height and width), `interpolation`, `crop_pct`, `crop_mode`, `mean` and `std`; a
    model of which nothing is known has none of them. Nothing is built, unless the model is described in a file.

    Args:
        node: the node.
        at_test: take the size and the crop ratio that timm tests the model at, where they are others.
    """
    plain = to_plain(node, "model")
    target = locate(plain.get("_target_"), "model")
    if target is timm.create_model:
        check_timm_name(plain.get("model_name"))
        found, told_by = _of_timm(plain, at_test)
    elif target is torchvision_model and plain.get("weights") is not None:
        found, told_by = _of_torchvision(str(plain["name"]), str(plain["weights"]))
    else:
        found, told_by = {}, ""
    if plain.get("img_size") is not None:
        found["size"] = plain["img_size"]
    return found, told_by


def _of_timm(node: Mapping[str, Any], at_test: bool) -> tuple[dict[str, Any], str]:
    name = str(node["model_name"])
    config = node.get("pretrained_cfg")
    if ":" in name:
        with torch.device("meta"):
            described: Any = timm.create_model(name).pretrained_cfg
    else:
        architecture, tag = split_model_name_tag(name)
        described = resolve_pretrained_cfg(
            architecture, config or tag or None, node.get("pretrained_cfg_overlay")
        ).to_dict()
    known = resolve_data_config(pretrained_cfg=described, use_test_size=at_test)
    _, height, width = known["input_size"]
    told_by = f"timm's {described.get('architecture') or name}"
    found = {
        "size": height if height == width else [height, width],
        "interpolation": known["interpolation"],
        "crop_pct": known["crop_pct"],
        "crop_mode": known["crop_mode"],
        "mean": list(known["mean"]),
        "std": list(known["std"]),
    }
    return found, f"{told_by}.{described['tag']}" if described.get("tag") else told_by


def _of_torchvision(name: str, weights: str) -> tuple[dict[str, Any], str]:
    from torchvision.models import get_model_weights

    known = get_model_weights(name).__members__.get(weights)
    if known is None:  # which the model's own check will say
        return {}, ""
    preset = known.transforms()
    (size,), (resized,) = preset.crop_size, preset.resize_size
    found = {
        "size": size,
        "interpolation": preset.interpolation.value,
        # Rounded down, so that the size divided by it is not a little below what torchvision resizes to.
        "crop_pct": math.floor(1e4 * size / resized) / 1e4,
        "crop_mode": "center",
        "mean": list(preset.mean),
        "std": list(preset.std),
    }
    return found, f"torchvision's {known}"
