"""The preview job: from a composed config to `lr_curve.png`, `lr_curve.csv` and a TensorBoard run."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hookline.analysis.lr_warnings import lr_warnings
from hookline.analysis.preview import Preview, compute, write_csv, write_tensorboard
from hookline.charts import MOST_POINTS
from hookline.charts.alike import alike, label
from hookline.charts.lr_curve import draw_lr_curve
from hookline.charts.text import draw_text
from hookline.commands.app import chosen_option, overrides
from hookline.config.checks import check_bool, check_number
from hookline.config.errors import ConfigError, did_you_mean, shown
from hookline.config.files import replacing
from hookline.config.instantiate import to_plain, told_at
from hookline.experiment import (
    build_clock,
    build_schedules,
    build_source,
    build_train_loader,
    build_workflow,
    followed,
    require,
)
from hookline.optim.group_curves import check_schedules
from hookline.schedules import Clock

log = logging.getLogger(__name__)

# The curves of a sweep's jobs by what each was told, to be overlaid when all are done.
_jobs: dict[str, Preview] = {}
_sweep_dir: list[Path] = []


def plot_lr(cfg: DictConfig) -> None:
    """Write the curves of the run that `cfg` describes to the preview's output directory, and say where."""
    hydra = HydraConfig.get()
    out = Path(hydra.runtime.output_dir)
    if cfg.preview.text is not None:
        with told_at("preview"):
            check_bool("text", cfg.preview.text)
    clock = run_length(cfg)
    if cfg.preview.compare:
        previews = {name: preview_of(node, clock) for name, node in compared(cfg).items()}
        for name, preview in previews.items():
            write(out / name, preview, f"lr_schedule={name}")
        draw_overlay(out, previews)
        drawn = curves(previews, "lr")
        print(f"each curve's lr_curve.png, lr_curve.csv, tensorboard: {out}/{{{','.join(previews)}}}")
    else:
        preview = preview_of(cfg, clock)
        write(out, preview, " ".join(o for o in overrides() if not o.startswith("preview.")))
        drawn = dict(preview.lr)
        if hydra.mode == RunMode.MULTIRUN:
            told = [o.removeprefix("lr_schedule=").removeprefix("lr_schedule.") for o in _swept()]
            _jobs[" ".join(told) or str(hydra.job.num)] = preview
            _sweep_dir[:] = [Path(hydra.sweep.dir)]
    print(
        f"all curves: {out / 'lr_curve.png'}"
        if cfg.preview.compare
        else f"lr_curve.png, lr_curve.csv, tensorboard: {out}"
    )
    if cfg.preview.text or (cfg.preview.text is None and not has_display()):
        groups = alike(drawn)
        names = [label(group) for group in groups]
        print(draw_text([drawn[group[0]] for group in groups], clock.iters_per_epoch, names=names))


def overlay_jobs() -> None:
    """Draw the curves of all jobs of a sweep into one chart, if there was a sweep in this process."""
    if len(_jobs) > 1:
        draw_overlay(_sweep_dir[0], _jobs)
        print(f"all {len(_jobs)} curves: {_sweep_dir[0] / 'lr_curve.png'}")


def run_length(cfg: DictConfig) -> Clock:
    """Return the clock of the run: from `preview.iters_per_epoch`, or else from the data set."""
    iters = cfg.preview.iters_per_epoch
    if iters is not None:
        with told_at("preview"):
            check_number("iters_per_epoch", iters, gt=0, integer=True)
    clock = build_clock(cfg, iters or count_iterations(cfg))
    if clock.max_iters > MOST_POINTS:
        key = "max_iters" if cfg.runner.max_epochs is None else "max_epochs"
        raise ConfigError(
            f"runner.{key}={cfg.runner[key]}: must be less for a preview: the run has {clock.max_iters:,} iterations,"
            f" and {MOST_POINTS:,} can be drawn"
        )
    return clock


def measured_at(cfg: DictConfig, clock: Clock) -> Sequence[int] | None:
    """Return the numbers of finished iterations at which a schedule's metric is validated, None for no such metric."""
    if not any(monitor.startswith("val") for _, monitor in followed(cfg)):
        return None
    evaluation = cfg.get("evaluation") or {}
    epochs = cycle(build_workflow(cfg))
    found, trained = set(), 0
    while trained < clock.max_epochs:
        mode, number = next(epochs)
        if mode == "train":
            trained += number
        else:
            found.add(trained * clock.iters_per_epoch)
    interval, start = evaluation.get("interval"), evaluation.get("start")
    if interval is not None:
        with told_at("evaluation"):
            check_number("interval", interval, gt=0, integer=True)
        unit = clock.iters_per_epoch if evaluation.get("by_epoch", True) else 1
        found |= set(range(unit * (interval if start is None else start), clock.max_iters, unit * interval))
    return sorted(found)


def count_iterations(cfg: DictConfig) -> int:
    """Return the iterations of an epoch, counted as training counts them; this reads the data set, and needs torch."""
    import torch

    require(cfg, "data")
    return len(build_train_loader(cfg, build_source(cfg, "train", tell=False), torch.device("cpu")))


def preview_of(cfg: DictConfig, clock: Clock) -> Preview:
    """Return the values of the run that `cfg` describes."""
    require(cfg, "lr_schedule", "optimizer", "runner")
    schedules = build_schedules(cfg, clock)
    bases = groups_of(cfg, list(schedules))
    check_schedules(schedules, bases, clock)
    for warning in lr_warnings(schedules["lr"], bases["lr"], clock):
        log.warning(warning)
    return compute(schedules, clock, bases, measured_at(cfg, clock))


def groups_of(cfg: DictConfig, quantities: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return by field (`lr`, `momentum`, and what else is scheduled) the base value of each parameter group, by name.

    Where all parameters form one group, its values stand in the optimizer's node, and neither torch nor the model is
    needed.
    """
    wanted = list(dict.fromkeys(("lr", "momentum", *quantities)))
    if cfg.preview.base_lr is None and changes_groups(cfg):
        from hookline.experiment import build_freeze, build_model_without_memory, build_optimizer, build_source
        from hookline.optim.group_values import base_values

        require(cfg, "data", "model")
        model = build_model_without_memory(cfg, build_source(cfg, "train", tell=False))
        build_freeze(cfg, model)
        groups = base_values(build_optimizer(cfg, model, chosen_option("optimizer")), wanted)
        found = {field: values for field, values in groups.items() if values}
    else:
        lrs = base_lrs(cfg)
        names = ["base"] if len(lrs) == 1 else [str(index) for index in range(len(lrs))]
        found = {"lr": dict(zip(names, lrs, strict=True))}
        node = to_plain(cfg.optimizer, "optimizer")
        if not like_its_option(node, chosen_option("optimizer")):
            import torch

            from hookline.optim.build import build_optimizer as build_from_node

            build_from_node(node, torch.nn.Linear(1, 1), option=chosen_option("optimizer"))
        for field in wanted[1:]:
            value = _momentum_of(node) if field == "momentum" else node.get(field)
            if value is not None:
                found[field] = dict.fromkeys(names, float(value))
    for field in quantities:
        if field not in found:
            has = "neither momentum nor betas" if field == "momentum" else f"no {field}"
            raise ConfigError(
                f"{field}_schedule: optimizer {cfg.optimizer.get('_target_')} is given {has};"
                f" choose {field}_schedule=none"
            )
    return found


def changes_groups(cfg: DictConfig) -> bool:
    """Return whether the groups' values are other than the optimizer's; to see them needs torch."""
    groups = cfg.get("param_groups")
    plain = groups is None or groups.get("_target_") == "hookline.optim.param_groups.Plain"
    scaled = (cfg.get("auto_scale_lr") or {}).get("base_batch_size") is not None
    return not plain or scaled


def like_its_option(node: Mapping[str, Any], option: Mapping[str, Any] | None) -> bool:
    """Return whether a node has its option's class, keys and kinds of values, so that the class need not be asked."""

    def kinds(of: Mapping[str, Any]) -> dict[str, type]:
        return {key: float if type(value) is int else type(value) for key, value in of.items()}

    if option is None or node.get("_target_") in (None, "???"):
        return False
    return node["_target_"] == option.get("_target_") and kinds(node) == kinds(option)


def base_lrs(cfg: DictConfig) -> list[float]:
    """Return the base learning rates that the config names: `preview.base_lr`, or the optimizer's."""
    given = cfg.preview.base_lr
    key, value = ("optimizer.lr", cfg.optimizer.get("lr")) if given is None else ("preview.base_lr", given)
    values = list(value) if OmegaConf.is_list(value) else [value]
    with told_at(key.partition(".")[0]):
        for number in values or [None]:
            check_number(key.rpartition(".")[2], number, ge=0)
    return values


def _momentum_of(optimizer: Mapping[str, Any]) -> float | None:
    """Return the momentum that the optimizer's node gives it: `momentum`, or the first of `betas`, or None."""
    value = optimizer.get("momentum")
    if value is None and isinstance(optimizer.get("betas"), list):
        value = optimizer["betas"][0]
    if value is not None:
        with told_at("optimizer"):
            check_number("momentum", value)
    return value


def compared(cfg: DictConfig) -> dict[str, DictConfig]:
    """Return the run's config with each of the schedules of `preview.compare` in turn.

    What the command line says of `lr_schedule.KEY` holds for every one of them that has the key.
    """
    given = [o for o in overrides() if not o.startswith("preview.compare")]
    parser = OverridesParser.create()
    of_schedule = [parser.parse_override(o) for o in given if o.lstrip("+").startswith("lr_schedule.")]
    rest = [o for o in given if not o.lstrip("+").startswith(("lr_schedule.", "lr_schedule="))]
    if isinstance(cfg.preview.compare, str) or not isinstance(cfg.preview.compare, Sequence):
        raise ConfigError(f"preview.compare={shown(cfg.preview.compare)}: must be a list of lr_schedule options")
    found = {}
    for name in cfg.preview.compare:
        if not isinstance(name, str):
            raise ConfigError(f"preview.compare={shown(name)}: must be a list of lr_schedule options")
        if name in found:
            raise ConfigError(f"preview.compare={shown(cfg.preview.compare)}: names {name} twice")
        with told_at("preview.compare"):
            node = compose(HydraConfig.get().job.config_name, [*rest, f"lr_schedule={name}"])
        for override in of_schedule:
            key = override.key_or_group.removeprefix("lr_schedule.")
            if key.partition(".")[0] in node.lr_schedule:
                OmegaConf.update(node, f"lr_schedule.{key}", override.value())
        found[str(name)] = node
    for override in of_schedule:
        key = override.key_or_group.removeprefix("lr_schedule.")
        keys = {str(known) for node in found.values() for known in node.lr_schedule}
        if key.partition(".")[0] not in keys:
            raise ConfigError(
                f"lr_schedule.{key}: none of the compared schedules has such a key.{did_you_mean(key, keys)}"
            )
    return found


def write(directory: Path, preview: Preview, title: str) -> None:
    """Write the chart, the numbers and the TensorBoard run of one preview."""
    write_csv(directory / "lr_curve.csv", preview)
    write_tensorboard(directory / "tensorboard", preview)
    with replacing(directory / "lr_curve.png") as path:
        draw_lr_curve(
            path,
            lr=preview.lr,
            momentum=preview.series.get("momentum"),
            iters_per_epoch=preview.clock.iters_per_epoch,
            warmup_end=preview.warmup_end,
            title=title,
        )


def draw_overlay(directory: Path, previews: Mapping[str, Preview]) -> None:
    """Draw several previews into one chart, each named by what sets it apart."""

    ends = {
        name if len(preview.lr) == 1 else f"{name}, group {group}": preview.warmup_end
        for name, preview in previews.items()
        for group in preview.lr
    }
    alike = len(set(ends.values())) == 1
    with replacing(directory / "lr_curve.png") as path:
        draw_lr_curve(
            path,
            lr=curves(previews, "lr"),
            momentum=curves(previews, "momentum"),
            iters_per_epoch=next(iter(previews.values())).clock.iters_per_epoch,
            warmup_end=next(iter(ends.values())) if alike else ends,
        )


def curves(previews: Mapping[str, Preview], field: str) -> dict[str, list[float]]:
    """Return the curves of a field in all previews, each named by its preview and, if it has several, by its group."""
    return {
        name if len(groups) == 1 else f"{name}, group {group}": values
        for name, groups in ((name, preview.series.get(field, {})) for name, preview in previews.items())
        for group, values in groups.items()
    }


def has_display() -> bool:
    """Return whether a picture can be looked at here."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(v) for v in ("DISPLAY", "WAYLAND_DISPLAY"))


def _swept() -> list[str]:
    """Return this job's overrides that differ between the jobs of the sweep."""
    command = [o for o in sys.argv[1:] if "," in o or "(" in o]
    keys = {o.partition("=")[0] for o in command}
    # What is not on the command line comes from a file of the group sweep.
    return [o for o in overrides() if o.partition("=")[0] in keys or o not in sys.argv]
