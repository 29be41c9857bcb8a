"""The command line before Hydra reads it: what it would misread is put right, or told in this project's words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from hookline.config import local
from hookline.config.errors import ConfigError, did_you_mean
from hookline.config.groups import group_names, options
from hookline.config.moved import moved_override


def prepared(arguments: Sequence[str]) -> list[str]:
    """Return the arguments as Hydra can read them.

    A value that its grammar has no place for, such as one with `~` or `ä` in it, is quoted; `GROUP=null` becomes
    `GROUP=none`.

    Raises:
        ConfigError: an argument can be none of the user's intentions.
    """
    sweeps = any(re.match(r"--multirun|-[a-z]*m|hydra\.mode=", argument) for argument in arguments)
    folders = local.config_folders(arguments)
    groups = {name: sorted(options(folders, name)) for name in group_names(folders)}
    return [_prepared(a, sweeps, groups) if "=" in a and not a.startswith("-") else _checked(a) for a in arguments]


def _checked(argument: str) -> str:
    if (new := moved_override(argument)) is not None:
        raise ConfigError(f"{argument}: this key has moved; write {new}")
    return argument


def _prepared(argument: str, sweeps: bool, groups: Mapping[str, list[str]]) -> str:
    _checked(argument)
    parser = OverridesParser.create()
    try:
        override = parser.parse_override(argument)
    except HydraException:
        key, _, value = argument.partition("=")
        argument = f"{key}={quoted(value)}"
        try:
            # Quotes would hide a list or a mapping that is broken.
            override = parser.parse_override(argument if value[:1] not in tuple("[{('\"") else f"{key}={value}")
        except HydraException as error:
            raise _malformed(f"{key}={value}", str(error).splitlines()[0]) from error
    if not override.key_or_group:
        raise _malformed(argument, "it has no key")
    if override.is_sweep_override() and not sweeps:
        key, _, value = argument.partition("=")
        raise ConfigError(
            f"{argument}: has several values; to run them all add --multirun, for a list write {key}=[{value}]"
        )
    return _option(argument, override, groups) if override.key_or_group in groups else argument


def _malformed(argument: str, reason: str) -> ConfigError:
    return ConfigError(f"{argument}: is not of the form KEY=VALUE (nor +KEY=VALUE, ~KEY; {reason})")


def _option(argument: str, override: Override, groups: Mapping[str, list[str]]) -> str:
    """Return the choice of a group's option, checked."""
    group, value = override.key_or_group, None if override.is_sweep_override() else override.value()
    known = groups[group]
    if override.is_add() and override.package is None:
        raise ConfigError(f"{argument}: every run has {group} already; write {argument.lstrip('+')}")
    if value is None and not override.is_sweep_override() and not override.is_delete():
        if "none" in known:
            return f"{group}=none"
        if group == "experiment":
            return argument
    names = value if isinstance(value, list) else [value]
    if not override.is_sweep_override() and not override.is_delete() and not all(isinstance(n, str) for n in names):
        near = did_you_mean(str(value), known)
        raise ConfigError(f"{argument}: there is no such option.{near} It can be: {', '.join(known)}")
    return argument


def quoted(value: str) -> str:
    """Return a value as Hydra's grammar quotes it."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"
