"""A chart of learning rate and momentum as training used them."""

from __future__ import annotations

from array import array
from typing import Any

from hookline.charts.lr_curve import draw_lr_curve
from hookline.config.files import replacing
from hookline.engine import Runner
from hookline.engine.hook import Hook, Priority
from hookline.optim.group_values import group_names, momentum_field
from hookline.schedules import WarmUp


class LRCurveHook(Hook):
    """Keep every iteration's learning rate and momentum, and draw them into `lr_curve.png` at the end."""

    priority = Priority.VERY_LOW

    def before_run(self, runner: Runner) -> None:
        names = group_names(runner.optimizer)
        self._lr: dict[str, array] = {}
        self._momentum: dict[str, array] = {}
        # What to append for each group, decided once: this runs every iteration.
        self._readers: list[tuple[list[float], dict[str, Any], str, int | None]] = []
        self._stores: list[array] = []
        for name, group in zip(names, runner.optimizer.param_groups, strict=True):
            self._lr[name] = self._add(group, "lr", None)
            field = momentum_field(group)
            if field is not None:
                self._momentum[name] = self._add(group, *field)

    def after_train_iter(self, runner: Runner) -> None:
        for values, group, key, index in self._readers:
            values.append(group[key] if index is None else group[key][index])

    def after_train_epoch(self, runner: Runner) -> None:
        # Appending to a list is the fastest, keeping numbers in an array takes the least memory.
        for (values, *_), store in zip(self._readers, self._stores, strict=True):
            store.extend(values)
            values.clear()

    def after_run(self, runner: Runner) -> None:
        schedule = runner.schedules.get("lr")
        with replacing(runner.work_dir / "lr_curve.png") as path:
            draw_lr_curve(
                path,
                lr=self._lr,
                momentum=self._momentum,
                iters_per_epoch=runner.clock.iters_per_epoch,
                warmup_end=schedule.end if isinstance(schedule, WarmUp) else 0,
            )

    def _add(self, group: dict[str, Any], key: str, index: int | None) -> array:
        self._readers.append(([], group, key, index))
        self._stores.append(array("d"))
        return self._stores[-1]
