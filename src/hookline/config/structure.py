"""Whether a composed config has the shape that the commands read: no key that nobody reads, no number for a group."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hookline.config.errors import ConfigError, did_you_mean, shown
from hookline.config.paths import conf

# Groups whose keys the program reads one by one, and the file that lists them. The keys of other groups are arguments
# of a class, or names that a user chooses.
READ_BY_KEY = {
    "runner": "runner/default.yaml",
    "evaluation": "evaluation/default.yaml",
    "augment": "parts/augment.yaml",
}

# Groups whose options change keys of the whole run; a run may do without one of theirs.
RECIPES = ("experiment", "debug")


def check_structure(cfg: DictConfig, root: str, overrides: Sequence[str] = ()) -> None:
    """Raise `ConfigError` where the config has a key that nobody reads, or a value in the place of a mapping.

    Args:
        cfg: the config as composed.
        root: the name of the root config, such as `train`.
        overrides: what the command line changed in it.
    """
    groups, keys = _root(root)
    if not groups and not keys:  # a root of the user's own, from elsewhere
        return
    # What another value is made of is read.
    read = set(re.findall(r"\$\{(\w+)", OmegaConf.to_yaml(cfg)))
    for key, value in cfg.items_ex(resolve=False):
        name = str(key)
        if name in RECIPES:
            _check_recipe(name, value)
        elif name in groups:
            _check_mapping(name, value, f"one of the options of {name}")
            if name in READ_BY_KEY and value is not None:
                _check_keys(name, value, OmegaConf.load(conf() / READ_BY_KEY[name]))
        elif OmegaConf.is_dict(keys.get(key)):
            _check_mapping(name, value, "a mapping with " + ", ".join(map(str, keys[key])))
            _check_keys(name, value or {}, keys[key])
        elif name not in keys and not name.endswith("_schedule") and name not in read:
            raise _unknown(name, name, [*groups, *map(str, keys)])
    _check_resolves(cfg, OmegaConf.to_container(cfg, resolve=False), "")
    for override in overrides:
        _check_effect(cfg, override)


def _root(name: str) -> tuple[list[str], dict[Any, Any]]:
    """Return the groups that a root config chooses from, and its own keys, those of the roots below it included."""
    path = conf() / f"{name}.yaml"
    if not path.is_file():
        return [], {}
    own: Any = OmegaConf.load(path)
    groups: list[str] = []
    keys: dict[Any, Any] = {}
    for entry in own.pop("defaults", []):
        if OmegaConf.is_dict(entry):
            groups += [str(group) for group in entry if not str(group).startswith(("override ", "/", "hydra"))]
        elif entry != "_self_":
            below, further = _root(entry)
            groups += below
            keys |= further
    return groups, keys | {key: own[key] for key in own if key != "hydra" and key not in groups}


def _check_recipe(name: str, value: object) -> None:
    """Raise `ConfigError` where a recipe's keys have become keys of the group and not of the run."""
    if value is not None:
        key, child = next(iter(value.items())) if isinstance(value, Mapping) and value else (None, value)
        full = name if key is None else f"{name}.{key}"
        raise ConfigError(
            f"{full}={shown(child)}: is no key of a run; the option's file must begin with the line"
            " # @package _global_, so that what it holds are the run's keys"
        )


def _check_mapping(name: str, value: object, expected: str) -> None:
    if value is not None and not OmegaConf.is_dict(value):
        raise ConfigError(f"{name}={value}: must be {expected}")


def _check_keys(name: str, node: Mapping[Any, Any], known: Any) -> None:
    for key in node:
        if key not in known:
            raise _unknown(f"{name}.{key}", str(key), [str(k) for k in known])


def _unknown(full: str, key: str, known: Sequence[str]) -> ConfigError:
    return ConfigError(f"{full}: there is no such key.{did_you_mean(key, known)} There is: {', '.join(known)}")


def _check_resolves(node: Any, written: Any, key: str) -> None:
    """Raise `ConfigError` where an interpolation has no value."""
    children = enumerate(written) if isinstance(written, list) else written.items()
    for name, text in children:
        full = f"{key}[{name}]" if isinstance(written, list) else f"{key}.{name}" if key else str(name)
        if isinstance(text, dict | list):
            _check_resolves(node[name], text, full)
        elif isinstance(text, str) and "${" in text:
            try:
                node[name]
            except OmegaConfBaseException as error:
                raise ConfigError(f"{full}={text}: {str(error).splitlines()[0]}") from error


def _check_effect(cfg: DictConfig, override: str) -> None:
    """Raise `ConfigError` where an override is about a key of what is switched off."""
    key = override.lstrip("+").partition("=")[0]
    node, _, own = key.rpartition(".")
    if override.startswith("~") or not node or own == "_target_":
        return
    found = OmegaConf.select(cfg, node)
    if OmegaConf.is_dict(found) and "_target_" in found and found["_target_"] is None:
        raise ConfigError(f"{override.lstrip('+')}: has no effect, as {node} is none; choose an option, {node}=NAME")
