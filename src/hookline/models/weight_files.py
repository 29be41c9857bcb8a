"""Files of weights: whose they are, and which of the weights in them are meant."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from timm.models import clean_state_dict
from torch import Tensor

from hookline.config.errors import ConfigError, did_you_mean

log = logging.getLogger(__name__)

KEY = "model.checkpoint_path"
CHOICE = "model.checkpoint_weights"
CHOICES = ("auto", "model", "ema")
SUFFIXES = (".pt", ".pth", ".tar", ".bin", ".ckpt", ".safetensors")

# Under which names others keep a state dict, and an average of the weights beside it.
STATES = ("state_dict", "model", "model_state_dict", "net", "network", "weights")
AVERAGES = ("state_dict_ema", "model_ema")


class Weights(NamedTuple):
    """A state dict, and which of the file's weights it is; empty where there are no others."""

    state: dict[str, Tensor]
    which: str


def read_weights(path: str | Path, wanted: str = "auto") -> Weights:
    """Return the weights in a file.

    The file is a state dict, one in a dict under a usual name, or a checkpoint of this project or of timm. A `module.`
    or `_orig_mod.` before the names is dropped.

    Args:
        path: the file.
        wanted: which of the weights, where a checkpoint holds an average beside them: `model`, `ema` (the average), or
            `auto`: those that decided which epoch was best. That is the average in a checkpoint of timm, and in one of
            this project if the run's `evaluation.monitor` is a number of it.

    Raises:
        ConfigError: there is no such file, it holds no weights, or not those that are wanted.
    """
    content = _read(_existing(path))
    averages = averages_in(content)
    name = deciding_average(content, averages) if wanted == "auto" else None
    if wanted == "ema":
        name = "hooks.ema" if "hooks.ema" in averages else next(iter(averages), None)
        if name is None:
            raise ConfigError(f"{CHOICE}=ema: must be auto or model: {path} holds no average of the weights")
    state = _tensors(averages[name] if name is not None else plain_weights(content))
    if not state:
        names = ", ".join(map(str, list(content)[:5]))
        raise ConfigError(f"{KEY}={path}: holds no tensors by name; it has {names}")
    for tensor, value in state.items():
        if value.layout is not torch.strided or value.is_quantized or value.is_meta:
            raise ConfigError(f"{KEY}={path}: {tensor} is sparse, quantized or without numbers; save dense tensors")
    if not averages:
        return Weights(state, "")
    return Weights(state, f"the average {name}" if name is not None else f"not the average {next(iter(averages))}")


def without_prefix(state: Mapping[str, Tensor], names: Collection[str]) -> tuple[dict[str, Tensor], str]:
    """Return the state dict without what stands before a model's names in it, such as `backbone.`, and what that was.

    Args:
        state: the state dict.
        names: those of the model's tensors.
    """
    fitting = {"": sum(name in names for name in state)}
    for name in state:
        for dot in re.finditer(r"\.", name):
            if name[dot.end() :] in names:
                fitting[name[: dot.end()]] = fitting.get(name[: dot.end()], 0) + 1
    prefix = max(fitting, key=lambda found: fitting[found])
    return {name.removeprefix(prefix): value for name, value in state.items()}, prefix


def _existing(path: str | Path) -> Path:
    if not isinstance(path, str | Path):
        raise ConfigError(f"{KEY}={path}: must be the path of a file of weights")
    file = Path(path).expanduser()
    if file.is_file():
        return file
    if file.suffix == ".dcp" and file.is_dir():
        raise ConfigError(
            f"{KEY}={path}: holds the parts of several processes; name best.pt or last.pt, files beside it"
        )
    if file.is_dir():
        # A run directory has its files of weights one level down; all that is below may be a whole disk.
        places = [*file.glob("*"), *file.glob("checkpoints/*")]
        there = sorted(str(place.relative_to(file)) for place in places if place.suffix in SUFFIXES)
        holds = f"It holds {', '.join(there[:5])}" if there else "It holds no file of weights"
        raise ConfigError(f"{KEY}={path}: is a folder; name a file. {holds}")
    if file.exists():
        raise ConfigError(f"{KEY}={path}: is no regular file")
    if re.match(r"\w+://", str(path)):
        raise ConfigError(f"{KEY}={path}: must be the path of a file; download it first")
    there = [p.name for p in file.parent.iterdir() if p.suffix in SUFFIXES] if file.parent.is_dir() else []
    raise ConfigError(f"{KEY}={path}: there is no such file.{did_you_mean(file.name, there)}")


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file that holds something else raises while it is read
        log.debug("%s cannot be read", path, exc_info=True)
        reason = "it is none that torch.save or safetensors wrote, or it is damaged"
        if "Unsupported global" in str(error):
            reason = "it holds Python objects, which could run code; save the model's state_dict() alone"
        raise ConfigError(f"{KEY}={path}: cannot be read as weights: {reason}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(
            f"{KEY}={path}: cannot be read as weights: it holds a {type(content).__name__}, no tensors by name"
        )
    return dict(content)


def plain_weights(content: Mapping[str, Any]) -> Any:
    """Return the weights that are no average."""
    if isinstance(parts := content.get("parts"), Mapping):  # a checkpoint of this project holds the whole run
        return parts.get("model", {})
    return next((content[name] for name in STATES if isinstance(content.get(name), Mapping)), content)


def averages_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the averages of the weights in a checkpoint, by name."""
    if isinstance(parts := content.get("parts"), Mapping):
        hooks = {
            name: part for name, part in parts.items() if str(name).startswith("hooks.") and isinstance(part, Mapping)
        }
        return {name: hook["model"] for name, hook in hooks.items() if isinstance(hook.get("model"), Mapping)}
    return {name: content[name] for name in AVERAGES if isinstance(content.get(name), Mapping)}


def deciding_average(content: Mapping[str, Any], averages: Mapping[str, Any]) -> str | None:
    """Return the average that decided which epoch was best, None for the weights themselves."""
    if "parts" not in content:
        return next(iter(averages), None)
    config = yaml.safe_load(content.get("config") or "") or {}
    monitor = (config.get("evaluation") or {}).get("monitor") or ""
    name = "hooks." + monitor.partition("/")[0].removeprefix("val_")
    return name if name in averages else None


def _tensors(state: Any) -> dict[str, Tensor]:
    if not isinstance(state, Mapping):
        return {}
    tensors = {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}
    return clean_state_dict(tensors)
