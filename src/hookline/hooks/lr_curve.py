"""A chart of learning rate and momentum as training used them."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

from hookline.files import replacing
from hookline.hooks.base import Hook, Priority
from hookline.lr_chart import draw_lr_curve
from hookline.optim.fields import group_names, momentum_field
from hookline.runner import Runner
from hookline.schedules import WarmUp


class LRCurveHook(Hook):
    """Keep every iteration's learning rate and momentum, and draw them into `lr_curve.png` at the end."""

    priority = Priority.VERY_LOW

    def before_run(self, runner: Runner) -> None:
        names = group_names(runner.optimizer)
        self._lr: dict[str, array] = {}
        self._momentum: dict[str, array] = {}
        # What to append for each group, decided once: this runs every iteration.
        self._readers: list[tuple[Callable[[float], None], dict[str, Any], str, int | None]] = []
        for name, group in zip(names, runner.optimizer.param_groups, strict=True):
            self._lr[name] = array("d")
            self._readers.append((self._lr[name].append, group, "lr", None))
            field = momentum_field(group)
            if field is not None:
                self._momentum[name] = array("d")
                self._readers.append((self._momentum[name].append, group, *field))

    def after_train_iter(self, runner: Runner) -> None:
        for append, group, key, index in self._readers:
            append(group[key] if index is None else group[key][index])

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
