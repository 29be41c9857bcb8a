"""The command line before Hydra reads it: what it would misread is put right, or told in this project's words."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from hookline.config import local, paths
from hookline.config.errors import ConfigError, did_you_mean, reason_of
from hookline.config.groups import chosen_by_default, group_names, options
from hookline.config.moved import moved_override
from hookline.config.quoting import quoted
from hookline.config.structure import RECIPES
from hookline.config.sweep_file import check_sweep_file

FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "preview.output_dir")

# Nodes of Hydra's that are options of its groups; a value in their place is taken, and fails later without a key.
HYDRAS_GROUPS = ("hydra.launcher", "hydra.sweeper")

# Groups of which a run has several options side by side.
SIDE_BY_SIDE = ("hooks", "logger")


def prepared(arguments: Sequence[str]) -> list[str]:
    """Return the arguments as Hydra can read them.

    A value that its grammar has no place for, such as one with `~` or `ä` in it, is quoted; `GROUP=null` becomes
    `GROUP=none`; `+hooks=NAME` becomes the list of the options that are chosen, and this one; `sweep=NAME` means
    several jobs, so `--multirun` is added.

    Raises:
        ConfigError: an argument can be none of the user's intentions.
    """
    flags = check_flags(arguments)
    if any(re.match(r"sweep=(?!null$)", argument) for argument in arguments) and not (flags.cfg or flags.info):
        arguments = arguments if flags.multirun else [*arguments, "--multirun"]
    sweeps = any(re.match(r"--multirun|-[a-z]*m|hydra\.mode=", argument) for argument in arguments)
    folders = local.config_folders(arguments)
    groups = {name: sorted(options(folders, name)) for name in group_names(folders)}
    arguments = without_null(joined(arguments))
    for argument in arguments:
        if argument.startswith("sweep="):
            check_sweep_file(argument, folders)
    return [_prepared(a, sweeps, groups) if "=" in a and not a.startswith("-") else _checked(a) for a in arguments]


def without_null(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without `experiment=null` and its like, which Hydra cannot read, and what they take back."""
    found = list(arguments)
    for group in (*RECIPES, "sweep"):
        if f"{group}=null" in found:
            last = len(found) - 1 - found[::-1].index(f"{group}=null")
            found = [a for place, a in enumerate(found) if place > last or not a.startswith(f"{group}=")]
    return found


def joined(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `+hooks=NAME` joined to the options that are chosen, by default or by an argument."""
    found = list(arguments)
    for group in SIDE_BY_SIDE:
        added = [argument for argument in found if re.fullmatch(rf"\+{group}=[\w-]+", argument)]
        if not added:
            continue
        chosen = next((argument for argument in reversed(found) if argument.startswith(f"{group}=")), None)
        if chosen is None:
            names = chosen_by_default(paths.conf() / "train.yaml")[group]
        else:
            names = re.findall(r"[\w-]+", chosen.partition("=")[2])
            if "," in chosen and "[" not in chosen:
                told = f"[{names[0]},{added[0].partition('=')[2]}]"
                raise ConfigError(
                    f"{added[0]}: cannot be added to several values; write each as a list, such as {told}"
                )
        place = found.index(added[0])
        names += [argument.partition("=")[2] for argument in added]
        found[place] = f"{group}=[{','.join(dict.fromkeys(names))}]"
        found = [a for a in found if a not in added and (a != chosen or a == found[place])]
    return found


def check_flags(arguments: Sequence[str]) -> Namespace:
    """Return what Hydra makes of the command line.

    Raises:
        ConfigError: a flag is none of Hydra's, or has a value that it cannot have.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    parsed = parser.parse_args(arguments)
    if parsed.config_dir is not None and not Path(parsed.config_dir).is_dir():
        raise ConfigError(f"--config-dir={parsed.config_dir}: there is no such folder")
    return parsed


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"{message}; --help and --hydra-help list the flags")


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
    if override.is_discrete_sweep():
        try:
            found = _values(override, groups)
        except ValueError as error:
            raise ConfigError(f"{argument}: {reason_of(error)}") from error
        if not found:
            raise ConfigError(f"{argument}: has no values")
    if override.key_or_group in groups:
        return _option(argument, override, groups)
    _check_values(argument, override)
    return argument


def _check_values(argument: str, override: Override) -> None:
    """Raise `ConfigError` where Hydra would take what leads nowhere, or would say nothing of the key."""
    key = override.key_or_group
    if key in HYDRAS_GROUPS and "/" not in argument.partition("=")[0]:
        raise ConfigError(f"{argument}: must be {key.replace('.', '/')}=NAME, which chooses one of Hydra's options")
    if override.is_sweep_override():
        return
    if key in FOLDERS and (override.value() == "" or isinstance(override.value(), list | dict)):
        raise ConfigError(f"{argument}: must be the path of a folder")
    if key == "hydra.output_subdir" and Path(str(override.value())).is_absolute():
        raise ConfigError(f"{argument}: must be the name of a folder inside the run directory")


def _values(override: Override, groups: Mapping[str, list[str]]) -> list[Any]:
    """Return the first values of a sweep; all of them may be too many to list."""
    value = override.value()
    if isinstance(value, Glob):
        return value.filter(groups.get(override.key_or_group, []))
    return list(islice(override.sweep_iterator(), 2))


def _malformed(argument: str, reason: str) -> ConfigError:
    return ConfigError(f"{argument}: is not of the form KEY=VALUE (nor +KEY=VALUE, ~KEY; {reason})")


def _option(argument: str, override: Override, groups: Mapping[str, list[str]]) -> str:
    """Return the choice of a group's option, checked."""
    group, value = override.key_or_group, None if override.is_sweep_override() else override.value()
    known = groups[group]
    if override.is_add() and override.package is None:
        raise ConfigError(f"{argument}: every run has {group} already; write {argument.lstrip('+')}")
    if value is None and not override.is_sweep_override() and not override.is_delete() and "none" in known:
        return f"{group}=none"
    if argument.partition("=")[2] in known and not isinstance(value, str):
        return "{}={}".format(argument.partition("=")[0], quoted(argument.partition("=")[2]))  # named `inf`, or `1`
    names = value if isinstance(value, list) else [value]
    fixed = not override.is_sweep_override() and not override.is_delete()
    # Of a single unknown name Hydra tells itself, and finds it among options that Python packages bring, too.
    unknown = [n for n in names if not isinstance(n, str) or (isinstance(value, list) and n not in known)]
    if fixed and unknown:
        near = did_you_mean(str(unknown[0]), known)
        raise ConfigError(f"{argument}: there is no such option.{near} It can be: {', '.join(known)}")
    if fixed and (twice := next((name for number, name in enumerate(names) if name in names[:number]), None)):
        raise ConfigError(f"{argument}: must have {twice} once")
    return argument
