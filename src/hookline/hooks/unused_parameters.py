"""A warning of parameters that are trained in vain."""

from __future__ import annotations

import logging

from torch import nn

from hookline.engine import Hook, Priority, Runner

log = logging.getLogger(__name__)


class UnusedParametersHook(Hook):
    """After the first epoch warn of parameters that never got a gradient.

    Add it with `+hooks.unused_parameters._target_=hookline.hooks.unused_parameters.UnusedParametersHook`.
    """

    priority = Priority.NORMAL

    def before_run(self, runner: Runner) -> None:
        trained = {id(p) for group in runner.optimizer.param_groups for p in group["params"]}
        self._unused: dict[str, nn.Parameter] = {n: p for n, p in runner.model.named_parameters() if id(p) in trained}

    def after_train_iter(self, runner: Runner) -> None:
        if self._unused:
            self._unused = {name: p for name, p in self._unused.items() if p.grad is None}

    def after_train_epoch(self, runner: Runner) -> None:
        unused = [name for name, p in self._unused.items() if p.requires_grad]
        self._unused = {}
        if unused:
            log.warning("parameters that never got a gradient: %s", ", ".join(unused))
