"""The learning-rate range test of a run's own model and data."""

from __future__ import annotations

import csv
import logging
import math
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from hookline.analysis.range_test import RangeTest, RangeTestHook, is_flat, suggest
from hookline.charts import MOST_POINTS
from hookline.charts.range_test import draw_range_test
from hookline.commands.app import chosen_option
from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ConfigError
from hookline.config.files import replacing
from hookline.config.instantiate import told_at
from hookline.engine import Runner
from hookline.experiment import build_runner
from hookline.job import Job
from hookline.loggers.console import shown

log = logging.getLogger(__name__)


def find_lr(cfg: DictConfig) -> float:
    """Run the range test on a model of its own, write `find_lr.png` and `find_lr.csv`, and return the suggestion.

    The suggestion is for `optimizer.lr`: the learning rate before `auto_scale_lr` and the groups' own factors.
    """
    find = check(cfg)
    out = Path(HydraConfig.get().runtime.output_dir)
    runner = build_test_runner(cfg, out)
    largest = max(group["lr"] for group in runner.optimizer.param_groups)
    if not largest > 0:
        raise ConfigError(f"optimizer.lr={largest:g}: must be above 0; the test keeps the ratios between the groups")
    curve = RangeTest(start=find.start_lr, end=find.end_lr, shape=find.shape, largest=largest)
    test = RangeTestHook(find.smoothing, find.diverge)
    runner.schedules = {"lr": curve.for_run(runner.clock)}
    runner.register_hooks([test])
    runner.run()
    return report(test, out, find, scale=float(cfg.optimizer.lr) / largest)


def build_test_runner(cfg: DictConfig, out: Path) -> Runner:
    """Return a runner of the config's model, data and update, as long as the test; only its schedule is a hook."""
    changed = {
        **{key: cfg[key] for key in cfg if not str(key).endswith("_schedule")},
        "lr_schedule": {"_target_": "hookline.schedules.Fixed"},
        "hooks": {"schedule": {"_target_": "hookline.hooks.schedule.ScheduleHook"}},
        "evaluation": None,
        "logger": None,
        "checkpoint": None,
        "runner": {**cfg.runner, "max_epochs": None, "max_iters": cfg.find.iterations},
    }
    return build_runner(OmegaConf.create(changed), Job(out), chosen_option("optimizer"))


def check(cfg: DictConfig) -> DictConfig:
    """Return the `find` node, or raise `ConfigError` where it asks for what cannot be."""
    find = cfg.find
    if not OmegaConf.is_dict(find):
        raise ConfigError(f"find={'null' if find is None else find}: must be a mapping with start_lr, end_lr, ...")
    with told_at("find"):
        check_number("start_lr", find.start_lr, gt=0)
        check_number("end_lr", find.end_lr, gt=find.start_lr)
        check_number("iterations", find.iterations, ge=10, le=MOST_POINTS, integer=True)
        check_choice("shape", find.shape, ["exp", "linear"])
        check_number("smoothing", find.smoothing, ge=0, lt=1)
        check_number("diverge", find.diverge, gt=1)
    return find


def report(test: RangeTestHook, out: Path, find: DictConfig, scale: float = 1.0) -> float:
    """Write what the test saw, say where, and return the suggested learning rate.

    Args:
        test: the hook that watched it.
        out: folder for the files.
        find: the node of that name.
        scale: what `optimizer.lr` is as a factor of the largest learning rate of the groups.
    """
    if len(test.lr) < 10:
        broke = f"the loss broke after {len(test.lr)} iterations, at a learning rate of {test.lr[-1]:.3g}"
        if test.lr[-1] > 10 * test.lr[0]:
            raise ConfigError(f"find.end_lr={find.end_lr:g}: {broke}; end lower, or in more find.iterations")
        raise ConfigError(f"find.start_lr={find.start_lr:g}: {broke}; start lower")
    with replacing(out / "find_lr.csv") as path, path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["iter", "lr", "loss", "smoothed_loss"])
        writer.writerows(zip(range(find.iterations), test.lr, test.loss, test.smoothed, strict=False))
    best = suggest(test.lr, test.smoothed)
    with replacing(out / "find_lr.png") as path:
        draw_range_test(
            path, lr=test.lr, loss=test.loss, smoothed=test.smoothed, suggestion=best, log_scale=find.shape == "exp"
        )
    stopped = f"the loss broke at lr {test.lr[-1]:.3g}" if len(test.lr) < find.iterations else "the loss did not break"
    advice = "no suggestion: the loss never fell"
    if best is not None:
        groups = "" if math.isclose(scale, 1) else f" (so that the largest of the groups is {best:.2g})"
        advice = f"suggested: optimizer.lr={best * scale:.2g}{groups}"
        if is_flat(test.loss, test.smoothed):
            log.warning(
                "the loss hardly falls, or not more than it scatters: do not trust the suggestion, and look at"
                " find_lr.png; more find.iterations or a larger data.batch_size may show more"
            )
    log.info("%s iterations, %s; %s", len(test.lr), stopped, advice)
    log.info("find_lr.png, find_lr.csv: %s", shown(out))
    return math.nan if best is None else best * scale
