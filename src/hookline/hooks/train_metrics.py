"""Loss and timing of training, into the runner's metric buffer."""

from __future__ import annotations

from time import perf_counter

from hookline.engine import Runner, Window
from hookline.engine.hook import Hook, Priority


class TrainMetricsHook(Hook):
    """Add `train/loss`, `time/iter` and `time/data` (seconds) each iteration; sum them up after each epoch.

    `time/iter` runs from the end of one iteration to the end of the next, `time/data` from there to the batch at hand.
    On a GPU both are what Python sees; they are true over many iterations, when the device's queue is full. The mean
    of `train/loss` over an epoch is weighted by batch size. What others added under `train/` is summed up with it.
    """

    priority = Priority.NORMAL

    def before_run(self, runner: Runner) -> None:
        self._epoch = Window(runner.metrics)
        self._data_times, _ = runner.metrics.record("time/data")
        self._iter_times, _ = runner.metrics.record("time/iter")
        self._on_cpu = runner.device.type == "cpu"
        if self._on_cpu:
            self._losses, self._counts = runner.metrics.record("train/loss")

    def before_train_epoch(self, runner: Runner) -> None:
        self._last = self._start = perf_counter()

    def before_train_iter(self, runner: Runner) -> None:
        self._data_times.append(perf_counter() - self._last)

    def after_train_iter(self, runner: Runner) -> None:
        loss, count = runner.outputs["loss"], runner.batch[1].shape[0]  # len() takes a detour through Python
        if self._on_cpu:
            self._losses.append(loss.item())  # there is no device to wait for
            self._counts.append(count)
        else:
            runner.metrics.add("train/loss", loss, count)
        now = perf_counter()
        self._iter_times.append(now - self._last)
        self._last = now

    def after_train_epoch(self, runner: Runner) -> None:
        window = self._epoch
        loss = window.mean("train/loss")  # waits for the device, so that the time is the epoch's own
        seconds = perf_counter() - self._start
        runner.metrics.latest = {
            "epoch": runner.epoch + 1,
            "iterations": runner.iter,
            "lr": runner.optimizer.param_groups[0]["lr"],
            **{name: window.value(name) for name in runner.metrics.names("train/")},
            "train/loss": loss,
            "time/epoch": seconds,
            "time/data": window.sum("time/data"),
            "throughput/images_per_second": window.count("train/loss") / seconds,
        }
        runner.history.append(runner.metrics.latest)  # the evaluation adds its numbers to the same dict
        window.advance(*runner.metrics.names("train/"), "time/iter", "time/data")
