"""How config nodes become objects: `hydra.utils.instantiate`, with every mistake told as a `ConfigError`.

A node is checked before its target is called: the target can be imported, takes every given argument, gets every
one that it needs, and each value fits its type annotation. Whatever the target itself raises is told with the node's
key.
"""

from __future__ import annotations

import inspect
import re
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pkgutil import resolve_name
from types import UnionType
from typing import Any

from beartype import BeartypeConf
from beartype.door import is_bearable
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hookline.config.checks import check_bool, check_choice
from hookline.config.errors import ConfigError, ParameterError, did_you_mean, first_line, reason_of, shown, told_of
from hookline.config.hints import in_words
from hookline.config.kinds import check_kind, is_pythons_own, wrong_kind

# Keys of a node that speak to instantiate and are no arguments of the target.
RESERVED = frozenset({"_target_", "_partial_", "_convert_", "_recursive_", "_args_"})

# An int is a valid float, as type checkers have it.
_TOWER = BeartypeConf(is_pep484_tower=True)


def build(
    node: DictConfig | Mapping[str, Any],
    key: str,
    *,
    kind: type | None = None,
    wanted: str = "",
    spellings: Mapping[str, str] | None = None,
    **given: Any,
) -> Any:
    """Return the object that `node` describes.

    Args:
        node: a mapping with `_target_` and the target's arguments, nested nodes included.
        key: where the node stands in the config, for messages.
        kind: what the object must be; a class that is none of these is not even called.
        wanted: what the target must be, for messages; by default a subclass of `kind`.
        spellings: the parameters' names by the keys that stand for them in this config, for those that differ; they
            hold in nested nodes too, wherever the target has such a parameter.
        given: further arguments, that come from the program and not from the config.

    Raises:
        ConfigError: the node asks for what cannot be.
    """
    plain = _respelled(to_plain(node, key), spellings or {})
    words = {name: spelling for spelling, name in (spellings or {}).items()}
    if kind is not None:
        check_kind(locate(plain.get("_target_"), key), kind, f"{key}._target_={plain['_target_']}", wanted)
    check_node(plain, key, given, words)
    if kind is not None and plain.get("_partial_"):
        raise ConfigError(f"{key}._partial_=true: must be left out, as the object itself is needed")
    try:
        factory = instantiate({**plain, "_partial_": True}, _convert_="all")
        built = partial(factory, **given) if plain.get("_partial_") else factory(**given)
    except ConfigError:
        raise
    except InstantiationException as error:  # from a node inside this one
        path, inner = _raised_at(plain, key, error)
        raise refused(error.__cause__ or error, path, inner, words) from error
    except Exception as error:  # whatever the target raises is about what it was given
        raise refused(error, key, plain, words) from error
    if kind is not None and not isinstance(built, kind):
        raise wrong_kind(f"{key}._target_={plain['_target_']}", kind, wanted)
    return built


def refused(
    error: BaseException, key: str, node: Mapping[str, Any], words: Mapping[str, str] | None = None
) -> ConfigError:
    """Return the user's view of what the target of the node at `key` raised when it was called.

    Args:
        error: what was raised.
        key: where the node stands in the config.
        node: the target and its arguments.
        words: the config's spellings of parameters, by their names.
    """
    if isinstance(error, ConfigError):
        return error
    if isinstance(error, ParameterError):
        return parameter_error(key, error.respelled(words or {}))
    reason = reason_of(error)
    named = _named_in(reason, node)
    if named is None:
        return ConfigError(f"{key}: {node['_target_']} refused its arguments: {reason}")
    told = f"{key}.{(words or {}).get(named, named)}={shown(node[named])}"
    return ConfigError(f"{told}: {node['_target_']} refused it: {reason}")


@contextmanager
def told_at(key: str) -> Iterator[None]:
    """Turn whatever is raised inside into a `ConfigError` that names `key`, and a parameter below it if it is known.

    Args:
        key: the node whose values are used inside; empty for the config's root, where only a `ParameterError` is told.
    """
    try:
        yield
    except (ConfigError, HydraException, OmegaConfBaseException):
        raise
    except ParameterError as error:
        raise parameter_error(key, error) from error
    except Exception as error:  # what is done with a node's values goes wrong by these values
        if not key:
            raise
        raise ConfigError(f"{key}: {reason_of(error)}") from error


def parameter_error(key: str, error: ParameterError) -> ConfigError:
    """Return the user's view of a bad parameter of the object at `key` (empty for the config's root)."""
    name = f"{key}.{error.name}" if key else error.name
    return ConfigError(f"{name}={shown(error.value)}: must be {error.expected}")


def to_plain(node: object, key: str) -> dict[str, Any]:
    """Return the node as plain containers, interpolations resolved."""
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if not isinstance(plain, Mapping):
        raise ConfigError(f"{key}={shown(plain)}: must be a mapping, in which _target_ names what to build")
    return {str(name): value for name, value in plain.items()}


def locate(path: object, key: str) -> Callable[..., Any]:
    """Return the class or function that a `_target_` names."""
    if not isinstance(path, str) or not path:
        raise ConfigError(f"{key}._target_={shown(path)}: must be the dotted path of a class or function")
    try:
        target = resolve_name(path)
    except (Exception, SystemExit) as error:  # whatever importing that module raises
        raise ConfigError(
            f"{key}._target_={path}: cannot be imported ({first_line(told_of(error))}){_near_target(path)}"
        ) from error
    if not callable(target):
        raise ConfigError(f"{key}._target_={path}: is a {type(target).__name__}, not a class or function")
    if is_pythons_own(target):
        raise ConfigError(f"{key}._target_={path}: is Python's own, no part of a run, and is not called")
    return target


def check_node(
    node: Mapping[str, Any],
    key: str,
    given: Mapping[str, Any] | None = None,
    words: Mapping[str, str] | None = None,
) -> None:
    """Raise `ConfigError` where the node and those nested in it do not fit their targets' signatures.

    Args:
        node: the node, its keys as the parameters are called.
        key: where it stands in the config.
        given: arguments that come from the program.
        words: the config's spellings of parameters, by their names; none for those that are spelled as they are.
    """
    if "_target_" not in node:
        raise ConfigError(f"{key}: has no _target_, the dotted path of what to build")
    given, words = given or {}, words or {}
    target = locate(node["_target_"], key)
    name = node["_target_"]
    _check_reserved(node, key)
    arguments = {k: v for k, v in node.items() if k not in RESERVED}
    for argument, value in arguments.items():
        _check_nested(value, f"{key}.{words.get(argument, argument)}", words)

    parameters, takes_any = parameters_of(target)
    if parameters is None:
        return
    hints = _hints(target)
    for argument, value in arguments.items():
        told = f"{key}.{words.get(argument, argument)}={shown(value)}"
        if argument in given:
            raise ConfigError(f"{told}: comes from the run itself; leave it out")
        if argument not in parameters and not takes_any:
            known = [words.get(p, p) for p in parameters if p not in given]
            raise ConfigError(
                f"{told}: {name} takes no argument {argument!r}.{did_you_mean(argument, known)}"
                f" It takes: {', '.join(known) or 'none'}"
            )
        default = parameters[argument].default if argument in parameters else None
        if type(value) is bool and type(default) in (int, float):
            raise ConfigError(f"{told}: must be a number")
        if argument in hints and not _has_target(value) and not _fits(value, hints[argument]):
            hint = hints[argument]
            if isinstance(value, Mapping):  # one of its values does not fit
                wrong = next((name for name, child in value.items() if not _fits({name: child}, hint)), None)
                if wrong is not None:
                    hint = next((typing.get_args(m)[1] for m in _members(hint) if len(typing.get_args(m)) == 2), hint)
                    told = f"{told.partition('=')[0]}.{wrong}={shown(value[wrong])}"
            raise ConfigError(f"{told}: must be {in_words(hint)}")
    by_place = list(parameters)[: len(node.get("_args_") or [])]
    for parameter in parameters.values():
        if parameter.name in by_place:
            continue
        needed = parameter.default is inspect.Parameter.empty
        if needed and parameter.name not in arguments and parameter.name not in given and not node.get("_partial_"):
            raise ConfigError(f"{key}.{words.get(parameter.name, parameter.name)}: is missing, and {name} needs it")


def _check_reserved(node: Mapping[str, Any], key: str) -> None:
    with told_at(key):
        for flag in ("_partial_", "_recursive_"):
            check_bool(flag, node.get(flag, False))
        check_choice("_convert_", node.get("_convert_", "all"), ["none", "partial", "object", "all"])
        if not isinstance(node.get("_args_", []), list):
            raise ParameterError("_args_", node["_args_"], "a list of arguments")


def parameters_of(target: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter] | None, bool]:
    """Return the arguments that can be given by name, and whether any others can, following **kwargs to the bases.

    The first is None where the signature cannot be read.
    """
    found: dict[str, inspect.Parameter] = {}
    takes_any = True
    for source in _constructors(target):
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


def _named_in(reason: str, node: Mapping[str, Any]) -> str | None:
    """Return the one argument of the node whose name, or else whose value, the reason has; None for none or several."""
    said = set(re.findall(r"[\w.+-]*\w", reason))
    arguments = {name: value for name, value in node.items() if name not in RESERVED}
    # A name of one word may be there as a word of English, and a number as a bound.
    by_name = [name for name in arguments if name in said and "_" in name]
    by_value = [
        name
        for name, value in arguments.items()
        if (isinstance(value, str) and value in said)
        or (type(value) in (int, float) and re.search(rf"(: |got |=|value ){re.escape(str(value))}(?![\w.])", reason))
    ]
    return by_name[0] if len(by_name) == 1 else by_value[0] if len(by_value) == 1 and not by_name else None


def _near_target(path: str) -> str:
    module, _, name = path.rpartition(".")
    try:
        return did_you_mean(name, dir(resolve_name(module)))
    except (Exception, SystemExit):  # there is no such module either
        return ""


def _constructors(target: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Return the functions whose signatures say what the target takes: itself, or a class and its bases."""
    if not inspect.isclass(target):
        return [target]
    return [vars(c)["__init__"] for c in target.__mro__ if "__init__" in vars(c)]


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
    # To Python true is a number, 1; in a config it is a mistake.
    if _holds_bool(value) and not _allows_bool(hint):
        return False
    if isinstance(value, str):  # which is a sequence of letters, too, and never meant as one
        return any(is_bearable(value, member, conf=_TOWER) for member in _members(hint) if not _is_collection(member))
    values = [value, tuple(value)] if isinstance(value, list) else [value]  # YAML has no tuples
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what beartype thinks of how a library wrote its annotations
        return any(is_bearable(v, hint, conf=_TOWER) for v in values)


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)


def _is_collection(hint: Any) -> bool:
    kind = typing.get_origin(hint) or hint
    return isinstance(kind, type) and issubclass(kind, Iterable) and not issubclass(kind, str)


def _holds_bool(value: Any) -> bool:
    return any(map(_holds_bool, value)) if isinstance(value, list) else isinstance(value, bool)


def _allows_bool(hint: Any) -> bool:
    if hint in (bool, object, typing.Any):
        return True
    arguments = typing.get_args(hint)
    plain = not arguments and hint not in (int, float, complex) and is_bearable(True, hint)
    return plain or any(argument is True or argument is False or _allows_bool(argument) for argument in arguments)


def _check_nested(value: Any, key: str, words: Mapping[str, str]) -> None:
    if isinstance(value, Mapping):
        if "_target_" in value:
            check_node(value, key, words=words)
        else:
            for name, child in value.items():
                _check_nested(child, f"{key}.{name}", words)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _check_nested(child, f"{key}[{index}]", words)


def _has_target(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or any(_has_target(v) for v in value.values())
    return isinstance(value, list) and any(_has_target(v) for v in value)


def _respelled(value: Any, spellings: Mapping[str, str]) -> Any:
    """Return the node with its keys as the parameters are called, those of nested nodes included."""
    if isinstance(value, Mapping):
        own = _names_of_parameters(value.get("_target_")) if spellings else frozenset()
        named = {key: spellings[key] if spellings.get(key) in own else key for key in value}
        return {named[key]: _respelled(child, spellings) for key, child in value.items()}
    return [_respelled(child, spellings) for child in value] if isinstance(value, list) else value


def _names_of_parameters(target: object) -> frozenset[str]:
    try:
        found, _ = parameters_of(locate(target, ""))
    except ConfigError:  # it cannot be imported, which the check of the node will say
        return frozenset()
    return frozenset(found or ())


def _raised_at(node: Mapping[str, Any], key: str, error: InstantiationException) -> tuple[str, Mapping[str, Any]]:
    """Return the key of the node inside this one that the error tells of, and that node."""
    # Hydra names it as "full_key: a.b[0]" at the end of its message, a last index without its brackets.
    _, _, told = str(error).rpartition("full_key: ")
    for path, inner in _nodes_in(node, ""):
        if told.strip() in (path, re.sub(r"\[(\d+)\]$", r"\1", path)):
            return f"{key}.{path}", inner
    return key, node


def _nodes_in(value: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the key of every node inside a value, and the node."""
    children: dict[str, Any] = {}
    if isinstance(value, Mapping):
        children = {f"{key}.{name}" if key else str(name): child for name, child in value.items()}
    elif isinstance(value, list):
        children = {f"{key}[{index}]": child for index, child in enumerate(value)}
    for path, child in children.items():
        if isinstance(child, Mapping) and "_target_" in child:
            yield path, child
        yield from _nodes_in(child, path)
