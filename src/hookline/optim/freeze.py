"""Which parameters stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hookline.config.checks import check_bool, check_number
from hookline.config.errors import ParameterError
from hookline.config.instantiate import build, parameter_error
from hookline.optim.param_groups.layer_decay import layer_of_each
from hookline.optim.parameter_names import head_names, in_modules, near_names


class Freeze:
    """Choose parameters to freeze, by name and by depth.

    With `epochs` they are frozen for the first so many and trained from then on: they are in the optimizer's groups
    from the start, so that their learning rate follows its schedule all along. Otherwise they are in no group.

    Args:
        patterns: names of parameters or modules, or globs of them; a module stands for all that is in it.
        until: a module; all layers from the stem to its last one are frozen, in the order of timm's layer decay.
        backbone: freeze everything but the classifier.
        epochs: for how many epochs; null: for the whole run.
        norm_eval: keep frozen batch norms in eval mode, so that their running statistics stay as well.
    """

    def __init__(
        self,
        *,
        patterns: Sequence[str] = (),
        until: str | None = None,
        backbone: bool = False,
        epochs: int | None = None,
        norm_eval: bool = True,
    ) -> None:
        check_bool("backbone", backbone)
        check_bool("norm_eval", norm_eval)
        if epochs is not None:
            check_number("epochs", epochs, gt=0, integer=True)
        self.patterns = list(patterns)
        self.until = until
        self.backbone = backbone
        self.epochs = epochs
        self.norm_eval = norm_eval

    def select(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Return the parameters to freeze, by name.

        Raises:
            ParameterError: a pattern or `until` fits nothing, or nothing is left to train.
        """
        parameters = dict(model.named_parameters())
        chosen: set[str] = set()
        for pattern in self.patterns:
            fitting = {name for name in parameters if _fits(name, pattern)}
            if not fitting:
                near = near_names(pattern, parameters)
                raise ParameterError("patterns", pattern, f"a name or a glob of the model's parameters.{near}")
            chosen |= fitting
        if self.until is not None:
            chosen |= self._below(model, self.until, parameters)
        if self.backbone:
            head = head_names(model)
            if not head:
                raise ParameterError("backbone", True, "false: this model's classifier is unknown (use patterns)")
            chosen |= {name for name in parameters if not in_modules(name, head)}
        if chosen and len(chosen) == len(parameters):
            name = "patterns" if self.patterns else "until" if self.until is not None else "backbone"
            value = {"patterns": self.patterns, "until": self.until, "backbone": self.backbone}[name]
            raise ParameterError(name, value, "less: all parameters of the model would be frozen")
        return {name: parameters[name] for name in parameters if name in chosen}

    def norms(self, model: nn.Module) -> list[nn.Module]:
        """Return the batch norms that are frozen as a whole."""
        frozen = self.select(model)
        found: list[nn.Module] = []
        for prefix, module in model.named_modules():
            own = [f"{prefix}.{name}" for name, _ in module.named_parameters(recurse=False)]
            if isinstance(module, _BatchNorm) and own and all(name in frozen for name in own):
                found.append(module)
        return found

    @staticmethod
    def _below(model: nn.Module, until: str, parameters: dict[str, nn.Parameter]) -> set[str]:
        stage = [name for name in parameters if in_modules(name, [until])]
        if not stage:
            raise ParameterError(
                "until", until, f"the name of a module with parameters.{near_names(until, parameters)}"
            )
        if hasattr(model, "group_matcher"):
            layers = layer_of_each(model)
        else:
            layers = {name: index for index, name in enumerate(parameters)}
        last = max(layers[name] for name in stage)
        return {name for name in parameters if layers[name] <= last}


def apply_freeze(node: Mapping[str, Any] | None, model: nn.Module) -> Freeze | None:
    """Freeze what the `freeze` node keeps so for the whole run, and return its choice; None if it chooses nothing."""
    if node is None:
        return None
    freeze = build(node, "freeze")
    try:
        frozen = freeze.select(model)
    except ParameterError as error:
        raise parameter_error("freeze", error) from error
    if freeze.epochs is None:
        for parameter in frozen.values():
            parameter.requires_grad_(False)
    return freeze if frozen else None


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
