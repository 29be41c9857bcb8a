"""How configs become objects: `hydra.utils.instantiate`, with every mistake told as a `ConfigError`.

A node is checked before its target is called: the target can be imported, takes every given argument, gets every
one that it needs, and each value fits its type annotation. What the target itself refuses (`ParameterError`,
`TypeError`, `ValueError`) is told with the node's key.
"""

from __future__ import annotations

import inspect
import typing
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pkgutil import resolve_name
from typing import Any

from beartype import BeartypeConf
from beartype.door import is_bearable
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from hookline.config.errors import ConfigError, ParameterError, did_you_mean

# Keys of a node that speak to instantiate and are no arguments of the target.
RESERVED = frozenset({"_target_", "_partial_", "_convert_", "_recursive_", "_args_"})

# An int is a valid float, as type checkers have it.
_TOWER = BeartypeConf(is_pep484_tower=True)


def build(node: DictConfig | Mapping[str, Any], key: str, **given: Any) -> Any:
    """Return the object that `node` describes.

    Args:
        node: a mapping with `_target_` and the target's arguments, nested nodes included.
        key: where the node stands in the config, for messages.
        given: further arguments, that come from the program and not from the config.

    Raises:
        ConfigError: the node asks for what cannot be.
    """
    plain = to_plain(node, key)
    check_node(plain, key, given)
    path = key
    try:
        factory = instantiate({**plain, "_partial_": True}, _convert_="all")
        return partial(factory, **given) if plain.get("_partial_") else factory(**given)
    except InstantiationException as error:  # from a node inside this one
        path, cause = _deepest_key(key, error), error.__cause__ or error
        raise _told(cause, plain, key, path) from error
    except (TypeError, ValueError, ImportError, RuntimeError) as error:
        raise _told(error, plain, key, path) from error


def _told(error: BaseException, node: Mapping[str, Any], key: str, path: str) -> BaseException:
    """Return what to raise for an exception of the target at `path`."""
    if isinstance(error, ParameterError):
        return parameter_error(path, error)
    if isinstance(error, TypeError | ValueError | ImportError | RuntimeError):
        return ConfigError(f"{path}: {_target_at(node, key, path)} refused its arguments: {error}")
    return error


def to_plain(node: DictConfig | Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the node as plain containers, interpolations resolved."""
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else dict(node)
    if not isinstance(plain, dict):
        raise ConfigError(f"{key}={plain!r}: must be a mapping with a _target_")
    return {str(name): value for name, value in plain.items()}


def parameter_error(key: str | None, error: ParameterError) -> ConfigError:
    """Return the user's view of a bad parameter of the object at `key` (none for the config's root)."""
    name = f"{key}.{error.name}" if key else error.name
    return ConfigError(f"{name}={_shown(error.value)}: must be {error.expected}")


def locate(path: object, key: str) -> Callable[..., Any]:
    """Return the class or function that a `_target_` names."""
    if not isinstance(path, str) or not path:
        raise ConfigError(f"{key}._target_={_shown(path)}: must be the dotted path of a class or function")
    try:
        target = resolve_name(path)
    except Exception as error:  # whatever importing that module raises
        raise ConfigError(
            f"{key}._target_={path}: cannot be imported ({type(error).__name__}: {error}){_near_target(path)}"
        ) from error
    if not callable(target):
        raise ConfigError(f"{key}._target_={path}: is a {type(target).__name__}, not a class or function")
    return target


def _near_target(path: str) -> str:
    module, _, name = path.rpartition(".")
    try:
        return did_you_mean(name, dir(resolve_name(module)))
    except Exception:  # there is no such module either
        return ""


def check_node(node: Mapping[str, Any], key: str, given: Mapping[str, Any] | None = None) -> None:
    """Raise `ConfigError` where the node and those nested in it do not fit their targets' signatures."""
    if "_target_" not in node:
        raise ConfigError(f"{key}: has no _target_, the dotted path of what to build")
    given = given or {}
    target = locate(node["_target_"], key)
    name = node["_target_"]
    arguments = {k: v for k, v in node.items() if k not in RESERVED}
    for argument, value in arguments.items():
        _check_nested(value, f"{key}.{argument}")

    parameters, takes_any = _parameters(target)
    if parameters is None:
        return
    for argument in arguments:
        if argument not in parameters and not takes_any:
            known = [p for p in parameters if p not in given]
            raise ConfigError(
                f"{key}.{argument}={_shown(arguments[argument])}: {name} takes no argument {argument!r}."
                f"{did_you_mean(argument, known)} It takes: {', '.join(known)}"
            )
    for parameter in parameters.values():
        needed = parameter.default is inspect.Parameter.empty
        if needed and parameter.name not in arguments and parameter.name not in given and not node.get("_partial_"):
            raise ConfigError(f"{key}.{parameter.name}: is missing, and {name} needs it")
    hints = _hints(target)
    for argument, value in arguments.items():
        if argument in hints and not _has_target(value) and not _fits(value, hints[argument]):
            hint = hints[argument]
            wanted = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
            raise ConfigError(f"{key}.{argument}={_shown(value)}: must be of type {wanted}")


def _constructors(target: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Return the functions whose signatures say what the target takes: itself, or a class and its bases."""
    if not inspect.isclass(target):
        return [target]
    return [vars(c)["__init__"] for c in target.__mro__ if "__init__" in vars(c)]


def _parameters(target: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter] | None, bool]:
    """Return the arguments that can be given by name, and whether any others can, following **kwargs to the bases."""
    found: dict[str, inspect.Parameter] = {}
    sources = _constructors(target)
    takes_any = True
    for source in sources:
        try:
            signature = inspect.signature(source)
        except (TypeError, ValueError):
            return None, True
        parameters = list(signature.parameters.values())
        if inspect.isclass(target):
            parameters = parameters[1:]
        for p in parameters:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                found.setdefault(p.name, p)
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if not takes_any or source is object.__init__:
            break
    return found, takes_any


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    sources = _constructors(target)
    hints: dict[str, Any] = {}
    for source in reversed(sources):
        try:
            hints.update(typing.get_type_hints(source))
        except Exception:  # a library's annotation that only its own type checker can read
            continue
    return hints


def _fits(value: Any, hint: Any) -> bool:
    values = [value, tuple(value)] if isinstance(value, list) else [value]  # YAML has no tuples
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what beartype thinks of how a library wrote its annotations
        return any(is_bearable(v, hint, conf=_TOWER) for v in values)


def _check_nested(value: Any, key: str) -> None:
    if isinstance(value, Mapping):
        if "_target_" in value:
            check_node(value, key)
        else:
            for name, child in value.items():
                _check_nested(child, f"{key}.{name}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _check_nested(child, f"{key}[{index}]")


def _has_target(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or any(_has_target(v) for v in value.values())
    return isinstance(value, list) and any(_has_target(v) for v in value)


def _deepest_key(key: str, error: InstantiationException) -> str:
    # Hydra names the node inside the one it was given as "full_key: a.b" at the end of its message.
    _, found, inner = str(error).rpartition("full_key: ")
    return f"{key}.{inner.strip()}" if found and inner.strip() else key


def _target_at(node: Mapping[str, Any], key: str, path: str) -> str:
    at: Any = node
    for part in path.removeprefix(key).strip(".").split("."):
        if part and isinstance(at, Mapping) and part in at:
            at = at[part]
    return str(at.get("_target_", node["_target_"])) if isinstance(at, Mapping) else str(node["_target_"])


def _shown(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
