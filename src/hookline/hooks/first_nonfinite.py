"""Where the first NaN comes from."""

from __future__ import annotations

import logging

from hookline.engine import Hook, Priority, Runner
from hookline.engine.first_nonfinite import FirstNonFinite

log = logging.getLogger(__name__)


class FirstNonFiniteHook(Hook):
    """End the run with the first number that is not finite, and name the module or the update that it arose in.

    Looked at are, in the order in which they are computed: the images, each module's output, the loss, the gradients
    and, after the step, the parameters. It waits for the device at each of them, which makes a run several times as
    slow. What a scaler skips under fp16 is no fault and is not told.
    """

    # After those that copy the model, whose copies are not watched.
    priority = Priority.LOWEST
    watches = True

    def before_run(self, runner: Runner) -> None:
        self._finder = FirstNonFinite(runner.model)
        self._finder.__enter__()

    def before_backward(self, runner: Runner) -> None:
        loss = runner.outputs["loss"].detach()
        if not loss.isfinite().all():
            self._finder.note(f"the loss, {type(runner.update.loss).__name__}, of logits that are finite")

    def after_train_iter(self, runner: Runner) -> None:
        finder = self._finder
        if finder.backward and runner.outputs.get("skipped"):
            finder.clear()
        if not finder.found:
            self._look_at_parameters(runner)
        if finder.found and not runner.stop_training:
            place = f"epoch {runner.clock.epoch + 1}, iteration {runner.clock.iter + 1}"
            detail = f"; {finder.detail}" if finder.detail else ""
            log.error("%s: the first number that is not finite is in %s%s", place, finder.found, detail)
            runner.stop(f"not finite: {finder.found}", "diverged")

    def after_run(self, runner: Runner) -> None:
        if hasattr(self, "_finder"):
            self._finder.__exit__(None, None, None)
            if runner.status == "completed":
                log.info("every number was finite")

    def _look_at_parameters(self, runner: Runner) -> None:
        for name, parameter in runner.model.named_parameters():
            if not parameter.detach().isfinite().all():
                gradient = parameter.grad
                largest = "" if gradient is None else f"its gradient is at most {gradient.abs().max():.3g} in size"
                rates = [group.get("lr", 0.0) for group in runner.optimizer.param_groups]
                kind, high = type(runner.optimizer).__name__, max(map(float, rates))
                self._finder.note(f"{name} after the step of {kind} with a learning rate of {high:.3g}", largest)
                return
