"""The learning-rate range test: train a while with a rising learning rate, and see where the loss falls and breaks.

Source: Smith, Cyclical Learning Rates for Training Neural Networks, https://arxiv.org/abs/1506.01186, section 3.3; the
exponential form with a smoothed loss is fastai's.
"""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from hookline.charts.range_test import draw_range_test
from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ConfigError, ParameterError
from hookline.config.files import replacing
from hookline.config.instantiate import parameter_error
from hookline.engine import Runner
from hookline.engine.hook import Hook, Priority
from hookline.engine.update import OptimizerHook
from hookline.experiment import build_runner
from hookline.hooks.schedule import ScheduleHook
from hookline.loggers.console import shown
from hookline.schedules import Clock, Curve

log = logging.getLogger(__name__)


class RangeTest(Curve):
    """From `start` at the first iteration to `end` at the last: `s (e/s)^(i/(n-1))`, or linear `s + (e-s) i/(n-1)`.

    Parameter groups keep the ratios of their base values: the group with the largest gets this, another its share.

    Args:
        start: the learning rate of the first iteration.
        end: of the last.
        shape: `exp` or `linear`.
        largest: the largest base value of the groups.
    """

    def __init__(self, *, start: float, end: float, shape: str = "exp", largest: float) -> None:
        super().__init__(by_epoch=False)
        self.start, self.end, self.shape, self.largest = start, end, shape, largest

    def __call__(self, base_value: float, clock: Clock) -> float:
        progress = clock.iter / max(1, clock.max_iters - 1)
        if self.shape == "exp":
            value = self.start * (self.end / self.start) ** progress
        else:
            value = self.start + (self.end - self.start) * progress
        return value * (base_value / self.largest)


class RangeTestHook(Hook):
    """Record learning rate and loss each iteration, and stop once the loss has broken.

    It has when it is not finite, or when the smoothed loss is more than `diverge` times its least.

    Args:
        smoothing: `beta` of the mean `m <- beta m + (1 - beta) loss`, its start corrected as in Adam.
        diverge: how many times the least is too much.
    """

    priority = Priority.NORMAL  # after backward: the loss belongs to the weights before this update

    def __init__(self, smoothing: float, diverge: float) -> None:
        self.smoothing = smoothing
        self.diverge = diverge
        self.lr: list[float] = []
        self.loss: list[float] = []
        self.smoothed: list[float] = []
        self._mean = 0.0

    def after_train_iter(self, runner: Runner) -> None:
        loss = runner.outputs["loss"].item()
        self._mean = self.smoothing * self._mean + (1 - self.smoothing) * loss
        smoothed = self._mean / (1 - self.smoothing ** (len(self.loss) + 1))
        if not math.isfinite(loss):
            runner.stop_training = True
            return
        self.lr.append(max(group["lr"] for group in runner.optimizer.param_groups))
        self.loss.append(loss)
        self.smoothed.append(smoothed)
        if smoothed > self.diverge * min(self.smoothed):
            runner.stop_training = True


def suggest(lr: Sequence[float], smoothed: Sequence[float]) -> float | None:
    """Return the learning rate at which the smoothed loss falls fastest per factor of it, before its least.

    None if it never falls. The first tenth, in which the mean is young, and what lies behind the least do not count.
    """
    least = min(range(len(smoothed)), key=smoothed.__getitem__) if smoothed else 0
    first, reach = max(1, len(smoothed) // 10), max(1, len(smoothed) // 20)
    # Over a twentieth of the points to either side: from one to the next the loss falls fastest by chance.
    slopes = {
        i: (smoothed[i + reach] - smoothed[i - reach]) / (math.log(lr[i + reach]) - math.log(lr[i - reach]))
        for i in range(max(first, reach), min(least, len(smoothed) - reach))
    }
    steepest = min(slopes, key=slopes.__getitem__, default=None)
    return None if steepest is None or slopes[steepest] >= 0 else lr[steepest]


def find_lr(cfg: DictConfig) -> float:
    """Run the range test on a model of its own, write `find_lr.png` and `find_lr.csv`, and return the suggestion."""
    find = check(cfg)
    out = Path(HydraConfig.get().runtime.output_dir)
    with open_dict(cfg):
        cfg.hooks = {}
        cfg.lr_schedule = {"_target_": "hookline.schedules.Fixed"}
        cfg.momentum_schedule = cfg.weight_decay_schedule = None
        cfg.runner.max_epochs, cfg.runner.max_iters = None, find.iterations
    runner = build_runner(cfg, out)
    largest = max(group["lr"] for group in runner.optimizer.param_groups)
    runner.schedules = {"lr": RangeTest(start=find.start_lr, end=find.end_lr, shape=find.shape, largest=largest)}
    test = RangeTestHook(find.smoothing, find.diverge)
    runner.register_hooks([ScheduleHook(), OptimizerHook(), test])
    runner.run()
    return report(test, out, find.iterations, find.shape)


def check(cfg: DictConfig) -> DictConfig:
    """Return the `find` node, or raise `ConfigError` where it asks for what cannot be."""
    find = cfg.find
    try:
        check_number("start_lr", find.start_lr, gt=0)
        check_number("end_lr", find.end_lr, gt=find.start_lr)
        check_number("iterations", find.iterations, ge=10, integer=True)
        check_choice("shape", find.shape, ["exp", "linear"])
        check_number("smoothing", find.smoothing, ge=0, lt=1)
        check_number("diverge", find.diverge, gt=1)
    except ParameterError as error:
        raise parameter_error("find", error) from error
    return find


def report(test: RangeTestHook, out: Path, planned: int, shape: str) -> float:
    """Write what the test saw, say where, and return the suggested learning rate."""
    if len(test.lr) < 10:
        raise ConfigError(f"find.start_lr: the loss broke after {len(test.lr)} iterations; start lower")
    with replacing(out / "find_lr.csv") as path, path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["iter", "lr", "loss", "smoothed_loss"])
        writer.writerows(zip(range(planned), test.lr, test.loss, test.smoothed, strict=False))
    best = suggest(test.lr, test.smoothed)
    with replacing(out / "find_lr.png") as path:
        draw_range_test(
            path, lr=test.lr, loss=test.loss, smoothed=test.smoothed, suggestion=best, log_scale=shape == "exp"
        )
    stopped = f"the loss broke at lr {test.lr[-1]:.3g}" if len(test.lr) < planned else "the loss did not break"
    advice = "no suggestion: the loss never fell" if best is None else f"suggested: optimizer.lr={best:.2g}"
    log.info("%s iterations, %s; %s", len(test.lr), stopped, advice)
    log.info("find_lr.png, find_lr.csv: %s", shown(out))
    return math.nan if best is None else best
