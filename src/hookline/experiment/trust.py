"""What the config of a run that somebody else made may name: parts of a run, and nothing that runs code of theirs.

A stored config is data until a `_target_` in it is called. Each is resolved here as it will be later, and the object
itself is judged, not its spelling.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from hookline.config.errors import ConfigError, first_line, reason_of, shown, told_of

Trust = bool | Sequence[str]

PACKAGES = ("torch", "torchvision", "timm", "hookline")

# Packages below those with things that load, evaluate, start or write; and those that build from configs by themselves.
CLOSED = (
    *("torch.hub", "torch.jit", "torch.fx", "torch.package", "torch.utils", "torch.distributed", "torch.testing"),
    *("torch.onnx", "torch.export", "torch.multiprocessing", "torch.serialization", "torch.classes", "torch.ops"),
    *("torch.compiler", "torch.profiler", "torchvision.io", "torchvision.datasets", "timm.utils", "timm.task"),
    *("hookline.commands", "hookline.experiment", "hookline.config", "hookline.checkpoint", "hookline.job"),
)

# The functions that make models. They fetch and open weights, so they are called where these are left out.
MODELS = (
    "timm.create_model",
    "hookline.models.build.torchvision_model",
    "hookline.models.small_images.small_image_resnet",
)

# The function that makes a data set.
DATA = "hookline.data.torchvision_source"

# The functions that configs name; any other target is a class.
FUNCTIONS = (*MODELS, DATA)

# Classes that are parts of a run, with their subclasses in the packages above.
KINDS = (
    *("torch.nn.Module", "torch.optim.Optimizer", "torch.optim.lr_scheduler.LRScheduler"),
    *(
        "timm.scheduler.scheduler.Scheduler",
        "torchvision.transforms.v2.Transform",
        "enum.Enum",
        "hookline.data.Source",
        "hookline.data.SampleTransform",
    ),
    *("hookline.data.transforms.Transform", "hookline.data.mix.Mix", "hookline.metrics.Metric", "hookline.engine.Hook"),
    "hookline.engine.alone.Alone",
    *("hookline.engine.Update", "hookline.loggers.sink.Sink", "hookline.schedules.Curve"),
    *("hookline.optim.freeze.Freeze", "hookline.optim.param_groups.Plain", "hookline.optim.param_groups.Paramwise"),
    "hookline.optim.param_groups.LayerDecay",
)

# Sources around a source, which read or write as soon as they are made.
NOT_NAMED = ("hookline.data.cache", "hookline.data.held")

# Arguments that fetch or open a file of weights; the weights of a run are in its checkpoint.
WEIGHTS = {"pretrained": False, "weights": None, "checkpoint_path": None, "weights_backbone": None}

TRUSTED = "where you know who made the run, give trust=true"

# Where this package lies, whose parts are judged one by one.
ROOT = Path(__file__).parent.parent

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)

# How an override begins, and the name of an option of a config group: a file in its folder, or in one below it.
_OVERRIDE = re.compile(r"[+~]{0,2}\w")
_OPTION = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")


def check_trust(trust: object) -> None:
    """Raise `ConfigError` unless `trust` is true, false or a list of module names."""
    names = trust if isinstance(trust, list | tuple) else [] if isinstance(trust, bool) else [None]
    if not all(isinstance(name, str) and re.fullmatch(r"\w+(\.\w+)*", name) for name in names):
        raise ConfigError(
            f"trust={shown(trust)}: must be true, false, or a list of modules whose classes the run may name"
        )


def read_config(text: str, trust: Trust, told: str) -> DictConfig:
    """Return the config that a checkpoint holds as YAML, checked by `check_config` unless it is trusted.

    Args:
        text: the YAML.
        trust: true opens everything; names of modules open what is in them.
        told: what messages call the file.

    Raises:
        ConfigError: the text is no mapping in plain YAML, or names what it may not.
    """
    check_trust(trust)
    try:
        events = list(yaml.parse(text, Loader=yaml.SafeLoader))
        if any(isinstance(event, yaml.AliasEvent) for event in events):
            raise ConfigError(f"{told}: its config has YAML aliases, which no run writes")
        if not any(isinstance(event, yaml.MappingStartEvent) for event in events[2:3]):
            raise ConfigError(f"{told}: its config is no mapping")
        cfg = OmegaConf.create(text)
        plain = OmegaConf.to_container(cfg, resolve=False)
    except ConfigError:
        raise
    except Exception as error:  # whatever YAML and OmegaConf raise for a text that no run has written
        raise ConfigError(f"{told}: its config cannot be read: {reason_of(error)}") from error
    assert isinstance(cfg, DictConfig)
    if trust is not True:
        check_config(plain, trust, told)
    return cfg


def check_config(plain: Any, trust: Trust, told: str) -> None:
    """Raise `ConfigError` where a stored config names what a stranger's must not.

    Every `_target_` is judged wherever it stands, in arguments, lists and `_args_`, called or only partially applied.
    Interpolations are refused altogether: the config in a checkpoint has their values.

    Args:
        plain: the config as plain containers.
        trust: names of modules whose contents may be named besides.
        told: what messages call the file.
    """
    for key, name, value in _entries(plain, ""):
        for text in (name, value):
            if isinstance(text, str) and "${" in text:
                raise _refused(told, key, text, "is an interpolation, which could read what is not the run's")
    _check_calls(plain, trust, told)


def check_target(path: object, trust: Trust, told: str, key: str) -> None:
    """Raise `ConfigError` unless a `_target_` names a part of a run, in a package that may be named.

    The path is looked up as it will be when the part is built. Nothing is imported but the packages themselves.
    """
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise _refused(told, key, path, "is not the dotted path of a class")
    allowed = tuple(trust) if not isinstance(trust, bool) else ()
    if _below(path, allowed):
        return
    if not _below(path, PACKAGES) or _below(path, CLOSED) or any(part.startswith("_") for part in path.split(".")):
        raise _refused(told, key, path, f"is not among what a stored config may name: classes of {', '.join(PACKAGES)}")
    found = _resolved(path, told, key)
    own = f"{getattr(found, '__module__', None)}.{getattr(found, '__qualname__', None)}"
    if _below(own, allowed):
        return
    if not _below(own, PACKAGES) or _below(own, (*CLOSED, *NOT_NAMED)) or not _is_part(found):
        raise _refused(told, key, path, f"is {own}, which is no part of a run")


def without_weights(node: Any) -> Any:
    """Return a `model` node, plain, with nothing in it that fetches or opens weights."""
    if isinstance(node, Mapping):
        closed: dict[str, Any] = WEIGHTS | {"checkpoint_weights": "auto"}
        return {name: closed[name] if name in closed else without_weights(child) for name, child in node.items()}
    return [without_weights(child) for child in node] if isinstance(node, list) else node


def check_overrides(overrides: Sequence[str], trust: Trust, told: str) -> None:
    """Raise `ConfigError` where the overrides that a run directory keeps do more than choose options and values.

    They become part of a command line when the run goes on. Options that they choose are files of the user's own, and
    so may be the classes that they name, which lie among the user's modules and not among installed packages.

    Args:
        overrides: as `.hydra/overrides.yaml` has them.
        trust: true opens everything; names of modules open what is in them.
        told: that file.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    check_trust(trust)
    if trust is True:
        return
    for text in overrides:
        if not _OVERRIDE.match(text):
            raise _refused(told, "overrides", text, "is a flag, or does not begin with a key")
        try:
            override = OverridesParser.create().parse_override(text)
            value = None if override.is_sweep_override() else override.value()
        except Exception as error:  # whatever the grammar says of a line that no run has written
            raise _refused(told, "overrides", text, f"cannot be read ({reason_of(error)})") from error
        key = str(override.key_or_group)
        if any(re.match(r"hydra\b", part) for part in (key, override.package or "")) or override.is_sweep_override():
            raise _refused(told, "overrides", text, "is about Hydra itself, or has several values")
        # Only a key without a dot may be a group, and of a group a path would lead to a file anywhere.
        for option in value if isinstance(value, list) else [value]:
            if "." not in key and isinstance(option, str) and not _OPTION.fullmatch(option):
                raise _refused(told, "overrides", text, "is not the name of an option")
        node: Any = value
        for name in reversed(key.split(".")):
            node = {name: node}
        for _, name, part in _entries(node, ""):
            for word in (name, part):
                if isinstance(word, str) and "${" in word and ":" in word:
                    raise _refused(
                        told, "overrides", text, "is an interpolation, which could read what is not the run's"
                    )
        _check_calls(node, trust, told, run_dir=Path(told).parent.parent)


def check_links(run_dir: Path, trust: Trust, told: str, within: str | None = None) -> None:
    """Raise `ConfigError` where a link in a run directory leads out of it, to what would be read or written elsewhere.

    Args:
        run_dir: the run directory; it may itself be reached through links.
        trust: true lets links lead anywhere.
        told: what the message begins with.
        within: the folder of it that is meant, with all that is in it; None for all of them.
    """
    check_trust(trust)
    inside = run_dir.resolve()
    for above, folders, files in os.walk(inside):
        if within is not None and Path(above) == inside:
            folders[:], files = [name for name in folders if name == within], [name for name in files if name == within]
        for path in (Path(above, name) for name in (*folders, *files)):
            if trust is not True and path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
                raise ConfigError(f"{told}: {path} is a link that leads out of the run; {TRUSTED}")
        # W&B keeps links of its own in its folder, to its logs.
        folders[:] = [name for name in folders if name != "wandb"]


def _check_calls(plain: Any, trust: Trust, told: str, run_dir: Path | None = None) -> None:
    """Raise `ConfigError` where a config calls what a stranger's must not, or in a way that it must not.

    Args:
        plain: the config.
        trust: what it may call besides.
        told: what the message begins with.
        run_dir: where the user's own classes may be called, the run that must hold none of them.
    """
    entries = list(_entries(plain, ""))
    for key, name, value in entries:
        if name == "_target_" and value is not None and not (run_dir and _is_own_code(value, run_dir)):
            check_target(value, trust, told, key)
        if name == "model_name" and isinstance(value, str) and (":" in value or "${" in value):
            raise _refused(told, key, value, "leads to a folder or a hub")
    for key, _, value in entries:
        path = value.get("_target_") if isinstance(value, Mapping) else None
        if path is None or (not isinstance(trust, bool) and _below(str(path), trust)):
            continue
        found = resolve_name(str(path))
        if _is_source(found) and key != "data":
            raise _refused(told, f"{key}._target_", path, "opens data, which is for the node `data` alone")
        if not any(found is resolve_name(name) for name in MODELS):
            continue
        if re.split(r"[.[]", key)[0] != "model":
            raise _refused(told, f"{key}._target_", path, "makes a model, which is for the node `model` alone")
        for way in ("_args_", "_partial_"):
            if value.get(way):
                raise _refused(told, f"{key}.{way}", value[way], f"{path} takes its arguments by their names, at once")


def _is_own_code(path: object, run_dir: Path) -> bool:
    """Say whether a target is defined in a module of the user's: not an installed one, nor one in the run's folder."""
    if not isinstance(path, str) or not _PATH.fullmatch(path) or not _is_users_file(_file_of(path), run_dir):
        return False
    try:
        found = resolve_name(path)
    except (Exception, SystemExit):  # which the check of the target will say
        return False
    module = sys.modules.get(str(getattr(found, "__module__", None)))
    is_part = inspect.isclass(found) or inspect.isfunction(found)
    return is_part and _is_users_file(getattr(module, "__file__", None), run_dir)


def _file_of(path: str) -> str | None:
    """Return the file of a path's first package, which is not imported for it."""
    try:
        spec = find_spec(path.partition(".")[0])
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or [])[:1] if spec is not None else []
    return None if spec is None else spec.origin or next(iter(places), None)


def _is_users_file(file: str | None, run_dir: Path) -> bool:
    if not file or not Path(file).exists():
        return False
    place = Path(file).resolve()
    paths = sysconfig.get_paths()
    not_own = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {str(run_dir), str(ROOT)}
    return "site-packages" not in place.parts and not any(place.is_relative_to(Path(p).resolve()) for p in not_own)


def _entries(node: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield full key, last key and value of everything in a node; an entry of a list has its list's last key."""
    children: list[tuple[str, Any, Any]] = []
    if isinstance(node, Mapping):
        children = [(f"{key}.{name}" if key else str(name), name, child) for name, child in node.items()]
    elif isinstance(node, list | tuple):
        children = [(f"{key}[{place}]", None, child) for place, child in enumerate(node)]
    for path, name, child in children:
        yield path, name, child
        yield from _entries(child, path)


def _resolved(path: str, told: str, key: str) -> Any:
    from hydra.utils import get_object

    try:
        found, again = resolve_name(path), get_object(path)
    except (Exception, SystemExit) as error:  # whatever importing that module raises
        raise _refused(told, key, path, f"cannot be imported ({first_line(told_of(error))})") from error
    if found is not again:
        raise _refused(told, key, path, "names two things")
    return found


def _is_source(found: Any) -> bool:
    source = resolve_name("hookline.data.Source")
    return found is resolve_name(DATA) or (inspect.isclass(found) and issubclass(found, source))


def _is_part(found: Any) -> bool:
    if inspect.isfunction(found):
        return any(found is resolve_name(name) for name in FUNCTIONS)
    return inspect.isclass(found) and issubclass(found, tuple(resolve_name(name) for name in KINDS))


def _below(path: str, prefixes: Sequence[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}.") for prefix in prefixes)


def _refused(told: str, key: str, value: object, reason: str) -> ConfigError:
    module = str(value).partition(".")[0]
    named = f" or trust=[{module}]" if key.endswith("_target_") and re.fullmatch(r"\w+", module) else ""
    return ConfigError(f"{told}: {key}={shown(value)}: {reason}; {TRUSTED}{named}")
