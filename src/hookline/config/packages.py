"""Packages that only some options need."""

from __future__ import annotations

from importlib.util import find_spec

from hookline.config.errors import ConfigError


def need(option: str, extra: str, *modules: str) -> None:
    """Raise `ConfigError` where a module is not installed; nothing is imported.

    Args:
        option: what needs it, as it is written on the command line.
        extra: the name under which hookline lists what is to be installed for it.
        modules: the names by which they are imported.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigError(
            f"{option}: needs the package{'s' * (len(missing) > 1)} {', '.join(missing)}; install with: pip install"
            f" -e '.[{extra}]'"
        )
