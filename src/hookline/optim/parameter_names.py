"""Names of parameters: which are the head's, and which are near to one that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from hookline.config.errors import did_you_mean


def head_names(model: nn.Module) -> list[str]:
    """Return the names of the modules that are the model's head, empty if that cannot be told.

    timm says it in the model's `pretrained_cfg` and through `get_classifier`, and of two modules in one another the
    outer is meant: levit's head has a norm of its own. Of another model it is the last linear layer, as everywhere in
    torchvision.
    """
    config = getattr(model, "pretrained_cfg", None) or {}
    named = config.get("classifier")
    names = [named] if isinstance(named, str) else list(named or ())
    modules = dict(model.named_modules())
    found = [name for name in names if name in modules]
    get_classifier: Any = getattr(model, "get_classifier", None)
    if get_classifier is not None:
        heads = get_classifier()
        wanted = {id(m) for m in (heads if isinstance(heads, tuple | list) else [heads])}
        found += [name for name, m in modules.items() if id(m) in wanted and next(m.parameters(), None) is not None]
        return [name for name in dict.fromkeys(found) if not in_modules(name, [n for n in found if n != name])]
    if found:
        return found
    return [name for name, module in modules.items() if isinstance(module, nn.Linear)][-1:]


def in_modules(name: str, modules: list[str]) -> bool:
    """Say whether the parameter `name` belongs to one of the named modules."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def near_names(pattern: str, names: Iterable[str]) -> str:
    """Return what somebody may have meant by a pattern that fits none of the parameters' names, as a sentence."""
    known: dict[str, None] = {}
    top: dict[str, None] = {}
    for name in names:
        words = name.strip(".").split(".")
        top[words[0]] = None
        known |= dict.fromkeys([".".join(words[:end]) for end in range(1, len(words) + 1)])
        known |= dict.fromkeys(word for word in words if not word.isdigit())
    return did_you_mean(pattern, known) or f" Its names begin with {', '.join(top)}"
