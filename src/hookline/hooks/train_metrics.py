"""Loss and timing of training, into the runner's sums and history."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from hookline.engine import Hook, Priority, Runner, Window
from hookline.optim.group_values import base_lr

log = logging.getLogger(__name__)

# What an epoch's row has of it besides the means under train/.
NUMBERS = ("lr", "time/epoch", "time/data", "throughput/images_per_second")


class TrainMetricsHook(Hook):
    """Sum up what each update gives, and how long it takes; log an epoch's numbers at its end.

    `train/loss` and every other scalar of the update's outputs (`train/grad_norm`, ...) is a mean weighted by batch
    size, to which updates that were skipped add nothing; `train/skipped` is their number. `time/iter` runs from the end
    of one iteration to the end of the next, `time/data` is how long the loop waited for the batch, both in seconds, and
    `time/data_share` what this is of an epoch's time, in percent. On a GPU they are what Python sees, and true over
    many iterations, when the device's queue is full. `lr` is the learning rate of the group `base` in the epoch's last
    iteration, or the largest where no group has that name.
    """

    priority = Priority.NORMAL

    def before_run(self, runner: Runner) -> None:
        self._epoch = Window(runner.sums)
        self._data_time, self._iter_time = runner.sums.entry("time/data"), runner.sums.entry("time/iter")
        self._last = perf_counter()

    def before_train_epoch(self, runner: Runner) -> None:
        self._last = perf_counter()
        # Here and not at the epoch's end: an epoch that a shorter run cut short goes on in a longer one.
        self._epoch.advance()

    def after_train_iter(self, runner: Runner) -> None:
        sums, outputs, batch = runner.sums, runner.outputs, runner.batch
        count = batch.targets.shape[0] if batch.whole is None else batch.whole
        if len(outputs) == 2:  # loss and logits
            sums.add("train/loss", outputs["loss"], count)
        else:
            self._add_all(runner, count)
        last, self._last = self._last, perf_counter()
        self._data_time.sum += runner.waited
        self._data_time.count += 1
        self._iter_time.sum += self._last - last
        self._iter_time.count += 1

    @staticmethod
    def _add_all(runner: Runner, count: int) -> None:
        skipped = runner.outputs.get("skipped")
        for name, value in runner.outputs.items():
            if name == "skipped":
                runner.sums.tally("train/skipped", value)
            elif name != "logits" and skipped is not None:
                # Nothing counts of an update that was skipped: its gradients, and perhaps its loss, are no numbers.
                taken = skipped.logical_not()
                runner.sums.add(f"train/{name}", value.where(taken, 0.0), taken.float() * count)
            elif name != "logits":
                runner.sums.add(f"train/{name}", value, count)

    def after_train_epoch(self, runner: Runner) -> None:
        window = self._epoch
        numbers = {name: window.value(name) for name in runner.sums.names("train/")}
        if skipped := numbers.get("train/skipped"):
            message = "epoch %d: %d updates skipped, their gradients were not finite"
            log.info(message, runner.clock.epoch + 1, skipped)
        # Reading the sums waited for the device, so that the time is the epoch's own.
        runner.sums.add("time/iter", perf_counter() - self._last, 0)
        self._last = perf_counter()
        seconds, waited = window.since("time/iter")[0], window.since("time/data")[0]
        runner.log(
            {"lr": base_lr(runner.optimizer)}
            | numbers
            | {
                "time/epoch": seconds,
                "time/data": waited,
                "time/data_share": 100 * waited / seconds,
                "throughput/images_per_second": window.rate("train/loss", "time/iter"),
            }
        )

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._epoch.load_state_dict(state["epoch"])
