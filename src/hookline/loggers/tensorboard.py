"""Scalars for TensorBoard."""

from __future__ import annotations

from hookline.config.checks import check_number
from hookline.engine import Runner, Window
from hookline.engine.hook import Hook, Priority
from hookline.loggers.event_file import EventFile
from hookline.optim.group_values import group_names, momentum_of

TIMES = ("time/iter", "time/data")


class TensorBoardHook(Hook):
    """Write scalars against the iteration, counted from 0, into the run's `tensorboard` folder.

    At the first iteration, every `interval`-th and the last: `learning_rate/<group>` and `momentum/<group>` as this
    iteration's update used them; as means since the last time `train/loss` and what else is measured under `train/`,
    `time/iter` and `time/data` (seconds); and `throughput/images_per_second`. After each evaluation, at the epoch's
    last iteration: `val/...`.

    Args:
        interval: iterations from one point to the next; 1 writes all.
    """

    priority = Priority.VERY_LOW

    def __init__(self, interval: int = 10) -> None:
        check_number("interval", interval, gt=0, integer=True)
        self.interval = self.every = interval

    def before_run(self, runner: Runner) -> None:
        self._names = group_names(runner.optimizer)
        self._window = Window(runner.metrics)
        self._file = EventFile(runner.work_dir / "tensorboard")

    def after_train_iter(self, runner: Runner) -> None:
        iteration = runner.clock.iter
        if iteration % self.interval and iteration + 1 != runner.clock.max_iters and not runner.stop_training:
            return
        scalars: dict[str, float] = {}
        for name, group in zip(self._names, runner.optimizer.param_groups, strict=True):
            scalars[f"learning_rate/{name}"] = group["lr"]
            momentum = momentum_of(group)
            if momentum is not None:
                scalars[f"momentum/{name}"] = momentum
        window = self._window
        names = (*runner.metrics.names("train/"), *TIMES)
        for name in names:
            scalars[name] = window.value(name)
        scalars["throughput/images_per_second"] = window.rate("train/loss", "time/iter")
        window.advance(*names)
        self._file.write(scalars, iteration)

    def after_val_epoch(self, runner: Runner) -> None:
        mine = f"{runner.val_name}/"
        numbers = {name: value for name, value in runner.metrics.latest.items() if name.startswith(mine)}
        self._file.write(numbers, runner.iter - 1)
        self._file.flush()

    def after_run(self, runner: Runner) -> None:
        self._file.close()
