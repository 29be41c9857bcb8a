"""Frozen parameters: kept so, or set free after some epochs."""

from __future__ import annotations

import logging

from hookline.engine import Runner
from hookline.engine.hook import Hook, Priority
from hookline.optim.freeze import Freeze

log = logging.getLogger(__name__)


class FreezeHook(Hook):
    """Freeze what `freeze` chooses, for as long as it says, and keep frozen batch norms in eval mode.

    It acts by the epoch that begins, so a resumed run is where an uninterrupted one would be.
    """

    priority = Priority.VERY_HIGH

    def __init__(self, freeze: Freeze) -> None:
        self.freeze = freeze

    def before_run(self, runner: Runner) -> None:
        self._parameters = self.freeze.select(runner.model)
        self._norms = self.freeze.norms(runner.model) if self.freeze.norm_eval else []
        epochs = self.freeze.epochs
        log.info(
            "frozen%s: %d of %d parameters (%s to %s), %d batch norms in eval mode",
            "" if epochs is None else f" for {epochs} epoch{'s' * (epochs != 1)}",
            len(self._parameters),
            len(list(runner.model.parameters())),
            *(list(self._parameters)[i] for i in (0, -1)),
            len(self._norms),
        )

    def before_train_epoch(self, runner: Runner) -> None:
        frozen = self.freeze.epochs is None or runner.epoch < self.freeze.epochs
        for parameter in self._parameters.values():
            parameter.requires_grad_(not frozen)
        if frozen:
            for norm in self._norms:
                norm.eval()
        elif runner.epoch == self.freeze.epochs:
            log.info("epoch %d: %d frozen parameters are trained from here on", runner.epoch + 1, len(self._parameters))
