"""Which parameters stay as they are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hookline.config.checks import check_bool, check_number
from hookline.config.errors import ParameterError
from hookline.optim.param_groups.layer_decay import layer_of_each
from hookline.optim.parameter_names import head_names, in_modules, near_names

log = logging.getLogger(__name__)


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
            if not patterns and until is None and not backbone:
                raise ParameterError("epochs", epochs, "null where nothing is frozen (patterns, until, backbone)")
        self.patterns = list(patterns)
        self.until = until
        self.backbone = backbone
        self.epochs = epochs
        self.norm_eval = norm_eval
        # What was chosen of which model: choosing takes milliseconds, and each epoch asks.
        self._chosen: tuple[nn.Module, list[nn.Parameter], list[nn.Module]] | None = None

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
        """Return the batch norms that are frozen as a whole.

        One without parameters is frozen where the module that holds it has parameters and all of them are frozen;
        where the model itself holds it, as the parameters before it are.
        """
        frozen = {id(parameter) for parameter in self.select(model).values()}
        found: list[nn.Module] = []
        before: list[nn.Parameter] = []
        for name, module in model.named_modules():
            if isinstance(module, _BatchNorm):
                holder, own = name, list(module.parameters())
                while not own and "." in holder:
                    holder = holder.rpartition(".")[0]
                    own = list(model.get_submodule(holder).parameters())
                own = own or before
                if own and all(id(parameter) in frozen for parameter in own):
                    found.append(module)
            before = list(module.parameters(recurse=False)) or before
        return found

    def apply(self, model: nn.Module, epoch: int) -> None:
        """Freeze the model's parameters, or set them free, as it has to be in this epoch.

        The model is in training mode; frozen batch norms are put into eval mode.
        """
        if self._chosen is None or self._chosen[0] is not model:
            self._chosen = model, list(self.select(model).values()), self.norms(model) if self.norm_eval else []
        _, parameters, norms = self._chosen
        frozen = self.epochs is None or epoch < self.epochs
        for parameter in parameters:
            parameter.requires_grad_(not frozen)
        for norm in norms if frozen else ():
            norm.eval()
        if epoch == self.epochs:
            log.info("epoch %d: %d frozen parameters are trained from here on", epoch + 1, len(parameters))

    def describe(self, model: nn.Module) -> str:
        """Return a line that says what is frozen, and for how long."""
        names = list(self.select(model))
        if not names:
            return "frozen: nothing"
        norms = len(self.norms(model)) if self.norm_eval else 0
        how_long = "" if self.epochs is None else f" for {self.epochs} epoch{'s' * (self.epochs != 1)}"
        return (
            f"frozen{how_long}: {len(names)} of {len(list(model.parameters()))} parameters ({names[0]} to {names[-1]}),"
            f" {norms} batch norms in eval mode"
        )

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


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
