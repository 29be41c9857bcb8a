"""Models: any timm or torchvision one, fitted to the data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from omegaconf import MISSING
from timm.models import is_model, split_model_name_tag
from torch import nn
from torch.hub import get_dir

from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ConfigError, ParameterError, did_you_mean
from hookline.config.instantiate import build, locate, to_plain, told_at
from hookline.models.weight_files import CHOICES
from hookline.models.weights import cached_config, cached_weights, load_weights

# What a model may leave to the data (a null in its node), by the argument's name.
FROM_DATA = ("num_classes", "in_chans", "img_size")

# Arguments that mean the same in every model that has them.
COUNTS = ("num_classes", "in_chans", "img_size", "patch_size", "window_size")
HUBS = ("hf-hub", "hf_hub")
RATES = ("drop_rate", "drop_path_rate")


def build_model(node: Mapping[str, Any], *, num_classes: int, in_chans: int, img_size: int) -> nn.Module:
    """Return the model that the `model` node describes.

    `num_classes` and `in_chans`, and `img_size` where the node lists it, are the data's unless the node gives its own.

    Raises:
        ConfigError: no such model, or one that does not fit its arguments or the data.
    """
    plain = to_plain(node, "model")
    from_data = {"num_classes": num_classes, "in_chans": in_chans, "img_size": img_size}
    target = locate(plain.get("_target_"), "model")
    if target is timm.create_model:
        check_timm_name(plain.get("model_name"))
        plain = {"num_classes": None, "in_chans": None} | plain
    for name in FROM_DATA:
        if name in plain and plain[name] is None:
            plain[name] = from_data[name]
    with told_at("model"):
        _check_numbers(plain)
    given = plain.get("num_classes", num_classes)
    if type(given) is not int or given < num_classes:
        raise ConfigError(f"model.num_classes={given}: must be at least {num_classes}, the data's number of classes")
    checkpoint, wanted = None, "auto"
    if not _takes_checkpoint(target):
        checkpoint, wanted = plain.pop("checkpoint_path", None), plain.pop("checkpoint_weights", "auto")
        with told_at("model"):
            check_choice("checkpoint_weights", wanted, CHOICES)
            if checkpoint is None and wanted != "auto":
                raise ParameterError("checkpoint_weights", wanted, "auto where no checkpoint_path is given")
    cached: dict[str, Any] = {}
    own_source = plain.keys() & {"pretrained_cfg", "pretrained_cfg_overlay"}
    if target is timm.create_model and plain.get("pretrained") is True and not own_source:
        cached = cached_weights(str(plain["model_name"]))
    try:
        model: nn.Module = build(plain, "model", kind=nn.Module, wanted="a torch.nn.Module", **cached)
    except ConfigError as error:
        if (key := _key_in(str(error), plain)) is not None:
            raise ConfigError(f"{key}: {str(error).removeprefix('model: ')}") from error
        raise
    if checkpoint is not None:
        load_weights(model, checkpoint, wanted)
    return model


def torchvision_model(name: str, *, num_classes: int, in_chans: int = 3, weights: str | None = None) -> nn.Module:
    """Return a classification model of torchvision.

    Args:
        name: as in `torchvision.models.list_models`.
        num_classes: outputs of the head.
        in_chans: channels of an image; if it is not 3, the first convolution is made anew.
        weights: torchvision's name of pretrained weights, such as `DEFAULT`; needs `num_classes` to be theirs.
    """
    import torchvision
    from torchvision.models import get_model, get_model_weights, list_models

    classifiers = list_models(torchvision.models)
    if name not in classifiers:
        near = did_you_mean(name, classifiers)
        raise ParameterError("name", name, f"a classification model of torchvision, as it spells it.{near}")
    if weights is not None:
        known = get_model_weights(name)
        check_choice("weights", weights, [None, *known.__members__])
        classes = len(known[weights].meta["categories"])
        if num_classes != classes:
            raise ParameterError("num_classes", num_classes, f"{classes}, as in the weights {weights}")
    try:
        model = get_model(name, weights=weights, num_classes=num_classes)
    except OSError as error:  # no network, or no room
        file = known[weights].url
        raise ParameterError(
            "weights",
            weights,
            f"null where {file} cannot be downloaded ({error}); copy it by hand into {get_dir()}/checkpoints, or give"
            " model.checkpoint_path=FILE",
        ) from error
    if in_chans != 3:
        _replace_first_conv(model, in_chans)
    return model


def _takes_checkpoint(target: Any) -> bool:
    # timm's own loads strictly or not at all.
    return target is not timm.create_model and "checkpoint_path" in inspect.signature(target).parameters


def check_timm_name(name: object) -> None:
    """Raise `ConfigError` unless timm knows a model of this name, or the name says where one is described."""
    if name is not None and not isinstance(name, str):
        raise ConfigError(f"model.model_name={name}: must be the name of a timm model, such as resnet18")
    if name is None or name == MISSING:
        raise ConfigError("model.model_name: is missing; give the name of a timm model, such as resnet18")
    place, _, rest = name.rpartition(":")
    if place == "local-dir":
        if not (Path(rest) / "config.json").is_file():
            raise ConfigError(f"model.model_name={name}: there is no {Path(rest) / 'config.json'}")
        return
    if place in HUBS:
        cached_config(name, rest)
        return
    if place:
        raise ConfigError(f"model.model_name={name}: must be a name of timm's, hf-hub:NAME or local-dir:FOLDER")
    if not is_model(split_model_name_tag(name)[0]):
        near = did_you_mean(name, timm.list_models())
        raise ConfigError(f"model.model_name={name}: timm has no such model.{near} timm.list_models() lists all")


def _key_in(text: str, arguments: Mapping[str, Any]) -> str | None:
    """Return the key and the value of the argument whose value the text of an error names, if there is one."""
    if text.startswith("model: "):
        for name, value in arguments.items():
            if isinstance(value, str) and name not in ("_target_", "model_name", "name") and value in text:
                return f"model.{name}={value}"
    return None


def _check_numbers(arguments: Mapping[str, Any]) -> None:
    for name in COUNTS:
        value = arguments.get(name)
        for number in value if isinstance(value, list | tuple) else [value]:
            if number is not None:
                check_number(name, number, gt=0, integer=True)
    for name in RATES:
        if arguments.get(name) is not None:
            check_number(name, arguments[name], ge=0, lt=1)


def _replace_first_conv(model: nn.Module, in_chans: int) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            parent = model.get_submodule(name.rpartition(".")[0])
            conv = nn.Conv2d(
                in_chans,
                module.out_channels,
                module.kernel_size,  # type: ignore[arg-type]
                module.stride,  # type: ignore[arg-type]
                module.padding,  # type: ignore[arg-type]
                module.dilation,  # type: ignore[arg-type]
                bias=module.bias is not None,
            )
            setattr(parent, name.rpartition(".")[2], conv)
            return
    raise ParameterError("in_chans", in_chans, "3: the model has no convolution to adapt")
