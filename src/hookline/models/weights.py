"""Weights to start from: a file's, or the hub's."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from timm.models import split_model_name_tag
from timm.models._manipulate import adapt_input_conv
from torch import Tensor, nn

from hookline.config.errors import ConfigError, first_line, told_of
from hookline.models.weight_files import KEY, read_weights, without_prefix
from hookline.optim.parameter_names import head_names, in_modules

log = logging.getLogger(__name__)


@dataclass
class LoadReport:
    """What became of a file's tensors.

    Attributes:
        loaded: names that were taken as they are.
        adapted: first convolutions that were fitted to another number of input channels.
        reshaped: names whose shapes differ, with the file's and the model's; the model's own values stay.
        missing: names that the model has and the file has not.
        unexpected: names that the file has and the model has not.
    """

    loaded: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def describe(self, total: int) -> str:
        """Return the report as a person reads it; `total` is how many tensors the model has."""
        lines = [f"{len(self.loaded) + len(self.adapted)} of {total} tensors loaded"]
        if self.adapted:
            lines.append(f"fitted to other input channels: {_some(self.adapted)}")
        if self.reshaped:
            shown = [f"{name} {file} in the file, {own} here" for name, (file, own) in self.reshaped.items()]
            lines.append(f"left as initialised, of another shape: {_some(shown)}")
        if self.missing:
            lines.append(f"left as initialised, not in the file: {_some(self.missing)}")
        if self.unexpected:
            lines.append(f"in the file but not in the model: {_some(self.unexpected)}")
        return "\n  ".join(lines)


def load_weights(model: nn.Module, path: str | Path, wanted: str = "auto") -> LoadReport:
    """Load a file of weights into the model as far as names and shapes agree, and log what did and did not.

    What stands before all of the model's names in the file, such as `backbone.`, is dropped, and timm's converter of
    the model's family, if it has one, is applied. A first convolution for another number of channels is fitted by
    timm's helper; a head for other classes keeps its initial values.

    Args:
        model: whose weights they become.
        path: the file; see `read_weights`.
        wanted: which of the weights in it.

    Raises:
        ConfigError: the file cannot be read, nothing in it belongs to the model, or it holds numbers that are not
            finite, or of another kind than the model's.
    """
    found = read_weights(path, wanted)
    state, prefix = without_prefix(found.state, model.state_dict())
    state = _converted(state, model)
    own = model.state_dict()
    for name, value in state.items():
        if name in own and _kind(value) != _kind(own[name]):
            kinds = f"{name} is {value.dtype}, and {own[name].dtype} in the model"
            raise ConfigError(f"{KEY}={path}: holds numbers of another kind than the model's: {kinds}")
    report, taken = LoadReport(), {}
    first = _first_convs(model)
    for name, value in state.items():
        if name not in own:
            report.unexpected.append(name)
        elif value.shape == own[name].shape:
            report.loaded.append(name)
            taken[name] = value
        elif name in first and (fitted := _fitted(value, own[name])) is not None:
            report.adapted.append(name)
            taken[name] = fitted
        else:
            report.reshaped[name] = tuple(value.shape), tuple(own[name].shape)
    report.missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    if not taken:
        raise ConfigError(
            f"{KEY}={path}: none of its {len(state)} tensors fits the model. It has {_some(list(state), 3)}; the model"
            f" has {_some(list(own), 3)}"
        )
    broken = [name for name, value in taken.items() if not value.isfinite().all()]
    if broken:
        raise ConfigError(f"{KEY}={path}: holds numbers that are not finite, in {_some(broken, 3)}")
    model.load_state_dict(taken, strict=False)
    head = head_names(model)
    left = [*report.reshaped, *report.missing, *report.unexpected]
    expected = all(in_modules(name, head) for name in left)
    what = ", ".join(filter(None, [str(path), found.which, f"without {prefix!r} before the names" if prefix else ""]))
    log.log(logging.INFO if expected else logging.WARNING, "weights from %s: %s", what, report.describe(len(own)))
    return report


def cached_weights(model_name: str) -> dict[str, Any]:
    """Return the arguments with which `timm.create_model(pretrained=True)` takes the weights from the cache, if it can.

    Nothing then waits for the network. Where they are not and the hub cannot be reached, raise `ConfigError` at once:
    left to itself the hub's client tries for a minute.
    """
    from huggingface_hub import try_to_load_from_cache
    from timm.models import get_pretrained_cfg

    if ":" in model_name:
        repo: str | None = model_name.partition(":")[2]
        file_name = None
    else:
        name, tag = split_model_name_tag(model_name)
        config = get_pretrained_cfg(f"{name}.{tag}" if tag else name, allow_unregistered=True)
        if config is None or config.custom_load or config.file:
            return {}
        repo, file_name = config.hf_hub_id, config.hf_hub_filename
    if not repo:
        return {}
    repo, _, revision = repo.partition("@")
    files = [file_name] if file_name else ["model.safetensors", "pytorch_model.bin"]
    for file in files:
        path = try_to_load_from_cache(repo, file, revision=revision or None)
        if isinstance(path, str):
            return {"pretrained_cfg_overlay": {"file": path}} if ":" not in model_name else {}
    try:
        _reach(repo, files[0], revision)
    except Exception as error:  # of whichever HTTP library the client uses
        raise unreachable(model_name, repo, files[0], error) from error
    return {}


def cached_config(model_name: str, repo: str) -> None:
    """Raise `ConfigError` where the description of a model on the hub is neither in the cache nor to be had.

    Args:
        model_name: as the config has it.
        repo: the part that names the hub's repository, and a revision behind an `@`.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    repo, _, revision = repo.partition("@")
    if isinstance(try_to_load_from_cache(repo, "config.json", revision=revision or None), str):
        return
    try:
        _reach(repo, "config.json", revision)
    except Exception as error:  # of whichever HTTP library the client uses
        raise ConfigError(
            f"model.model_name={model_name}: config.json of {constants.ENDPOINT}/{repo} is not in the cache folder"
            f" {constants.HF_HUB_CACHE} and cannot be downloaded ({first_line(told_of(error))})"
        ) from error


def _reach(repo: str, file: str, revision: str) -> None:
    """Ask the hub for a file, once; raise whatever its client raises if nobody answers."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("HF_HUB_OFFLINE is set")
    # Whatever it answers: what it refuses may be had with the user's token.
    get_session().head(f"{constants.ENDPOINT}/{repo}/resolve/{revision or 'main'}/{file}", timeout=10)


def unreachable(model_name: str, repo: str, file: str, error: BaseException) -> ConfigError:
    """Return the message for weights that are neither here nor to be had."""
    from huggingface_hub import constants

    return ConfigError(
        f"model.pretrained=true: the weights of {model_name} ({file} of {constants.ENDPOINT}/{repo}) are not in the"
        f" cache folder {constants.HF_HUB_CACHE} and cannot be downloaded ({first_line(told_of(error))})."
        f" Where there is internet, run `hf download {repo} {file}` and copy the folder"
        f" models--{repo.replace('/', '--')} from its cache into this one (HF_HOME moves the cache, HF_HUB_OFFLINE=1"
        " keeps the client from trying); or copy the file anywhere and give model.pretrained=false"
        " model.checkpoint_path=FILE"
    )


def _first_convs(model: nn.Module) -> list[str]:
    config: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    named = config.get("first_conv")
    if named is None:
        named = next((name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)), ())
    return [f"{name}.weight" for name in ([named] if isinstance(named, str) else named)]


def _fitted(weight: Tensor, own: Tensor) -> Tensor | None:
    if weight.ndim != 4 or own.ndim != 4 or weight.shape[0] != own.shape[0] or weight.shape[2:] != own.shape[2:]:
        return None
    try:
        return adapt_input_conv(own.shape[1], weight, base_chans=weight.shape[1])
    except (NotImplementedError, AssertionError, RuntimeError):
        return None


def _converted(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    convert = getattr(sys.modules.get(type(model).__module__), "checkpoint_filter_fn", None)
    own = model.state_dict()
    if convert is None or (state.keys() == own.keys() and all(own[n].shape == v.shape for n, v in state.items())):
        return state
    try:
        with torch.no_grad():
            return dict(convert(dict(state), model))
    except Exception as error:  # a file that is not of the kinds the converter knows
        log.debug("timm's converter does not apply: %s: %s", type(error).__name__, error)
        return state


def _kind(tensor: Tensor) -> tuple[bool, bool, bool]:
    return tensor.is_complex(), tensor.is_floating_point(), tensor.dtype == torch.bool


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
