"""Backward and the optimizer's step."""

from __future__ import annotations

from hookline.hooks.base import Hook, Priority
from hookline.runner import Runner


class OptimizerHook(Hook):
    """Clear the gradients, run backward on `runner.outputs["loss"]`, and update the weights.

    Under fp16 the loss is scaled first, and an update with infinite gradients is skipped (see `torch.amp.GradScaler`).
    """

    priority = Priority.ABOVE_NORMAL

    def after_train_iter(self, runner: Runner) -> None:
        optimizer, scaler = runner.optimizer, runner.scaler
        optimizer.zero_grad()
        if not scaler.is_enabled():
            runner.outputs["loss"].backward()
            optimizer.step()
            return
        scaler.scale(runner.outputs["loss"]).backward()
        scaler.step(optimizer)
        scaler.update()
