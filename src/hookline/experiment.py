"""From a composed config to the parts of a run: one small function for each part.

This is the only place besides the commands that sees a config; what is below gets plain arguments. Each function
imports what it needs, so that a command which builds one part does not wait for the packages of the others.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ConfigError, ParameterError
from hookline.config.instantiate import build, locate, parameter_error, parameters_of, to_plain, told_at
from hookline.config.moved import moved_override
from hookline.schedules import Clock, Curve, WarmUp
from hookline.schedules.quantities import WARMED_FROM_ABOVE, spellings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hookline.data import Batch, InMemoryLoader, Source
    from hookline.data.loader import Loader
    from hookline.data.mix import Mix
    from hookline.data.transforms import Transform
    from hookline.engine import Forward, Hook, Runner, Update
    from hookline.job import Job
    from hookline.metrics import Metric
    from hookline.optim.freeze import Freeze

log = logging.getLogger(__name__)

Node = Mapping[str, Any]

# Keys of the `data` group that say how batches are made of a source; the others are the source's own.
LOADING = frozenset({"batch_size", "val_batch_size", "drop_last", "train_transforms", "transforms"})
# Groups that each describe one hook, which has the group's name.
HOOK_GROUPS = ("evaluation", "logger", "checkpoint")
WARMUP = frozenset(inspect.signature(WarmUp).parameters) - {"curve", "inverse"}


def compose_config(*overrides: str, root: str = "train") -> DictConfig:
    """Return the config that a command has with these overrides, for use from Python."""
    from hydra import compose, initialize_config_dir

    from hookline.config import paths, resolvers

    resolvers.register()
    with initialize_config_dir(str(paths.conf()), version_base="1.3"):
        return compose(root, list(overrides))


def require(cfg: DictConfig, *groups: str) -> None:
    """Raise `ConfigError` where one of these groups was left out of the config."""
    for group in groups:
        if cfg.get(group) is None:
            raise ConfigError(f"{group}: is missing; choose an option with {group}=NAME")


def build_device(cfg: DictConfig) -> torch.device:
    """Return the device that `runner.device` names."""
    from hookline.engine.device import resolve_device

    with told_at("runner"):
        return resolve_device(cfg.runner.device)


def build_source(cfg: DictConfig, split: str) -> Source:
    """Return the split of the data set that the `data` group describes; nothing is read yet."""
    from hookline.data import Source

    node = {key: value for key, value in to_plain(cfg.data, "data").items() if key not in LOADING}
    source: Source = build(node, "data", kind=Source, wanted="a subclass of hookline.data.Source", split=split)
    return source


def build_transforms(cfg: DictConfig) -> tuple[dict[str, Transform], dict[str, Transform]]:
    """Return the transforms of training images alone, and those of all images, by name; a null entry is left out."""
    from hookline.data.transforms import Transform

    found: list[dict[str, Transform]] = []
    for group in ("train_transforms", "transforms"):
        named = {}
        for name, node in to_plain(cfg.data.get(group) or {}, f"data.{group}").items():
            key = f"data.{group}.{name}"
            if node is None:
                continue
            transform = build(node, key, kind=Transform, wanted="a subclass of hookline.data.transforms.Transform")
            if transform.draws and group == "transforms":
                kind = type(transform).__name__
                raise ConfigError(f"{key}={kind}: must be a transform without randomness (see data.train_transforms)")
            named[name] = transform
        found.append(named)
    training, common = found
    for name in training.keys() & common.keys():
        raise ConfigError(f"data.transforms.{name}: has the name of one of data.train_transforms; give it another")
    return training, common


def build_train_loader(cfg: DictConfig, source: Source, device: torch.device, mix: Mix | None = None) -> InMemoryLoader:
    """Return the loader of the training split."""
    from hookline.data import InMemoryLoader

    training, common = build_transforms(cfg)
    with told_at("data"):
        return InMemoryLoader(
            source,
            batch_size=cfg.data.batch_size,
            transforms=training | with_normalization(common, source),
            mix=mix,
            shuffle=True,
            drop_last=cfg.data.get("drop_last", False),
            seed=cfg.seed,
            device=device,
        )


def build_val_loader(cfg: DictConfig, source: Source, training: Source, device: torch.device) -> InMemoryLoader:
    """Return the loader of the validation split, whose images are normalised as the training split's."""
    from hookline.data import InMemoryLoader

    _, common = build_transforms(cfg)
    batch_size = cfg.data.get("val_batch_size", cfg.data.batch_size)
    try:
        return InMemoryLoader(
            source, batch_size=batch_size, transforms=with_normalization(common, training), device=device
        )
    except ParameterError as error:
        raise parameter_error("data", ParameterError(f"val_{error.name}", error.value, error.expected)) from error


def with_normalization(transforms: Mapping[str, Transform], training: Source) -> dict[str, Transform]:
    """Return the transforms; with a `Normalize` by the training images' mean and deviation if they have none."""
    from hookline.data import Normalize
    from hookline.data.in_memory import tensors_of
    from hookline.data.transforms.batched import mean_and_std

    if any(isinstance(transform, Normalize) for transform in transforms.values()):
        return dict(transforms)
    return {**transforms, "normalize": Normalize(*mean_and_std(tensors_of(training)[0]))}


def input_shape(cfg: DictConfig, source: Source) -> tuple[int, int, int]:
    """Return channels, height and width of the images that the model sees; no image is read if the source knows."""
    import torch

    size = source.image_size
    images = torch.zeros(1, source.channels, *size, dtype=torch.uint8) if size else source.read(0).unsqueeze(0)
    _, common = build_transforms(cfg)
    for name, transform in common.items():
        try:
            images = transform(images, torch.empty(1, 0))
        except Exception as error:  # whatever a transform does with images that it is not made for
            shown = shape_of(images.shape[1:])
            raise ConfigError(f"data.transforms.{name}: cannot take the data's {shown} images: {error}") from error
    channels, height, width = images.shape[1:]
    return channels, height, width


def build_model(cfg: DictConfig, source: Source) -> nn.Module:
    """Return the model, fitted to the data's classes, channels and image size, on the CPU."""
    from hookline.models.build import build_model as build_from_node

    channels, height, _ = input_shape(cfg, source)
    with told_at("model"):
        return build_from_node(cfg.model, num_classes=len(source.classes), in_chans=channels, img_size=height)


def build_model_without_memory(cfg: DictConfig, source: Source) -> nn.Module:
    """Return the model with parameters that have names and shapes but no numbers, whatever weights it starts from."""
    import torch

    node = to_plain(cfg.model, "model")
    for key, value in {"pretrained": False, "weights": None, "checkpoint_path": None}.items():
        if key in node:
            node[key] = value
    with torch.device("meta"):
        return build_model(OmegaConf.create({**cfg, "model": node}), source)


def choose_threads(cfg: DictConfig, model: nn.Module, source: Source) -> int:
    """Return how many threads an operation on the CPU is spread over: `runner.threads`, or what suits the model."""
    from hookline.engine.cores import available_cores
    from hookline.engine.threads import resolve_threads
    from hookline.models.work import flops_per_layer

    wanted, work = cfg.runner.threads, None
    if wanted == "auto" and next(model.parameters()).device.type == "cpu":
        work = flops_per_layer(model, (cfg.data.batch_size, *input_shape(cfg, source)))
    with told_at("runner"):
        return resolve_threads(wanted, cores=available_cores(), work=work)


def build_freeze(cfg: DictConfig, model: nn.Module) -> Freeze | None:
    """Return what stays frozen, None for nothing; what stays so for the whole run is frozen here already."""
    if cfg.get("freeze") is None:
        return None
    from hookline.optim.freeze import Freeze

    freeze: Freeze = build(cfg.freeze, "freeze", kind=Freeze)
    with told_at("freeze"):
        frozen = freeze.select(model)
    if freeze.epochs is None:
        for parameter in frozen.values():
            parameter.requires_grad_(False)
    return freeze if frozen else None


def build_forward(cfg: DictConfig, model: nn.Module) -> Forward:
    """Return the model's forward pass as `runner` wants it."""
    from hookline.engine import Forward

    runner = cfg.runner
    with told_at("runner"):
        return Forward(model, precision=runner.precision, channels_last=runner.channels_last, compile=runner.compile)


def build_loss(cfg: DictConfig, source: Source, device: torch.device) -> Any:
    """Return the loss on the device; it is told the training data's class counts if it takes `class_counts`."""
    from torch import nn

    target = locate(to_plain(cfg.loss, "loss").get("_target_"), "loss")
    takes_counts = "class_counts" in (parameters_of(target)[0] or {})
    given: dict[str, Any] = {"class_counts": source.class_counts} if takes_counts else {}
    loss = build(cfg.loss, "loss", **given)
    if not callable(loss):
        raise ConfigError(f"loss._target_={cfg.loss._target_}: must build something callable with (logits, targets)")
    return loss.to(device) if isinstance(loss, nn.Module) else loss


def build_mix(cfg: DictConfig, loss: Any, num_classes: int, device: torch.device) -> Mix | None:
    """Return what mixes the samples of a batch, None for nothing.

    Raises:
        ConfigError: the loss takes no soft targets.
    """
    import torch

    node = cfg.get("mix")
    if node is None or node.get("_target_") is None:
        return None
    mix: Mix = build(node, "mix", num_classes=num_classes)
    if not callable(mix):
        raise ConfigError(f"mix._target_={node._target_}: must build something that mixes, as hookline.data.mix.Mix")
    logits = torch.zeros(2, num_classes, device=device)
    message = (
        f"mix: mixing gives soft targets, and {type(loss).__name__} takes labels only; choose loss=cross_entropy,"
        " soft_target, bce or focal, or mix=none"
    )
    try:
        value = loss(logits, torch.full_like(logits, 1 / num_classes))
    except Exception as error:  # whatever a loss for labels does with something else
        raise ConfigError(message) from error
    if value.ndim != 0 or not bool(value.isfinite()):
        raise ConfigError(message)
    return mix


def lr_factor(cfg: DictConfig) -> float:
    """Return what `auto_scale_lr` multiplies the optimizer's learning rate by."""
    from hookline.optim.build import lr_scale

    node = to_plain(cfg.get("auto_scale_lr") or {}, "auto_scale_lr")
    with told_at("auto_scale_lr"):
        return lr_scale(cfg.data.get("batch_size"), **node)


def build_optimizer(cfg: DictConfig, model: nn.Module, option: Node | None = None) -> torch.optim.Optimizer:
    """Return the optimizer over the model's parameter groups.

    Args:
        cfg: the config.
        model: what is trained.
        option: the option of the group `optimizer` that the config was made from, if known: see
            `hookline.optim.build`.
    """
    from hookline.optim.build import build_optimizer as build_from_node

    return build_from_node(cfg.optimizer, model, cfg.get("param_groups"), lr_scale=lr_factor(cfg), option=option)


def build_update(
    cfg: DictConfig, *, forward: Forward, loss: Any, optimizer: torch.optim.Optimizer, freeze: Freeze | None = None
) -> Update:
    """Return what a batch does to the weights."""
    from hookline.engine import Update

    parts = {"forward": forward, "loss": loss, "optimizer": optimizer, "freeze": freeze}
    update: Update = build(cfg["update"], "update", kind=Update, wanted="a subclass of hookline.engine.Update", **parts)
    return update


def build_clock(cfg: DictConfig, iters_per_epoch: int) -> Clock:
    """Return the start of the run, whose length is `runner.max_epochs` or `runner.max_iters`."""
    epochs, iters = cfg.runner.max_epochs, cfg.runner.max_iters
    with told_at("runner"):
        if (epochs is None) == (iters is None):
            raise ParameterError("max_epochs", epochs, "given, or else max_iters, and not both")
        name = "max_iters" if epochs is None else "max_epochs"
        check_number(name, cfg.runner[name], gt=0, integer=True)
    return Clock.for_run(iters_per_epoch, max_epochs=epochs, max_iters=iters)


def build_workflow(cfg: DictConfig, validates: bool) -> list[tuple[str, int]]:
    """Return the pairs of phase and number of epochs that `runner.workflow` lists."""
    from hookline.engine.runner import phases_of

    workflow = to_plain(cfg.runner, "runner")["workflow"]
    with told_at("runner"):
        if "val" in phases_of(workflow) and not validates:
            raise ParameterError("workflow", workflow, "without val where the run has no evaluation")
    return [(mode, epochs) for mode, epochs in workflow]


def schedule_nodes(cfg: DictConfig) -> dict[str, Node]:
    """Return the schedules' nodes by the parameter-group field that each drives.

    `lr_schedule` drives `lr`, and so does every other key of the config's root that ends in `_schedule` drive the field
    that it is named after. A group's option `none` drives nothing.
    """
    nodes = {str(key).removesuffix("_schedule"): cfg[key] for key in cfg if str(key).endswith("_schedule")}
    found = {}
    for field, node in nodes.items():
        if node is None:
            continue
        if not isinstance(node, Mapping | DictConfig):
            raise ConfigError(f"{field}_schedule={node}: must be a mapping with a _target_")
        if node.get("_target_", "missing") is not None:
            found[field] = node
        elif ignored := [key for key in node if key != "_target_"]:
            raise ConfigError(f"{field}_schedule.{ignored[0]}: has no effect without a schedule; choose an option")
    return found


def build_schedule(node: Node, field: str, clock: Clock) -> Curve:
    """Return the curve of one parameter-group field in a run of this length.

    The warm-up keys (`warmup`, `warmup_iters`, ...) go to `WarmUp`, the others to the curve.

    Args:
        node: the config node: `_target_`, the curve's parameters and the warm-up's.
        field: what it drives: `lr`, `momentum`, `weight_decay`, ...
        clock: the start of the run.
    """
    key = f"{field}_schedule"
    plain = to_plain(node, key)
    warmup = {name: plain.pop(name) for name in WARMUP & plain.keys()}
    words = spellings(field)
    curve = build(plain, key, kind=Curve, wanted="a subclass of hookline.schedules.Curve", spellings=words)
    with told_at(key):
        try:
            return WarmUp(curve, **warmup, inverse=field in WARMED_FROM_ABOVE).for_run(clock)
        except ParameterError as error:
            raise error.respelled({name: word for word, name in words.items()}) from error


def build_schedules(cfg: DictConfig, clock: Clock) -> dict[str, Curve]:
    """Return the curves that drive the optimizer, by parameter-group field."""
    evaluation = cfg.get("evaluation") or {}
    validates = evaluation.get("interval") is not None or bool(evaluation.get("metrics"))
    schedules = {}
    for field, node in schedule_nodes(cfg).items():
        monitor = str(node.get("monitor", ""))
        if monitor.startswith("val") and not validates:
            raise ConfigError(
                f"{field}_schedule.monitor={monitor}: must be train/loss in a run without validation; or choose"
                " evaluation=default"
            )
        schedules[field] = build_schedule(node, field, clock)
    return schedules


def check_schedules(schedules: Mapping[str, Curve], bases: Mapping[str, Mapping[str, float]], clock: Clock) -> None:
    """Raise `ConfigError` where a schedule does not fit the parameter groups that it drives.

    Args:
        schedules: the curves by the field that each drives.
        bases: by field, the base value of every parameter group by the group's name.
        clock: the start of the run.
    """
    from hookline.optim.group_curves import check_schedule

    for field, schedule in schedules.items():
        if bases.get(field):  # a field that the optimizer lacks is the schedule hook's to refuse
            check_schedule(schedule, field, list(bases[field].values()), clock)


def build_metrics(cfg: DictConfig) -> dict[str, Metric]:
    """Return what is measured on the validation set, by name."""
    from hookline.metrics import Metric

    nodes = to_plain((cfg.get("evaluation") or {}).get("metrics") or {}, "evaluation.metrics")
    wanted = "a class with reset, update and compute, as hookline.metrics.Metric is"
    return {
        name: build(node, f"evaluation.metrics.{name}", kind=Metric, wanted=wanted)
        for name, node in nodes.items()
        if node is not None
    }


def build_hooks(cfg: DictConfig) -> list[Hook]:
    """Return the hooks: those of the group `hooks`, and those that `evaluation`, `logger` and `checkpoint` describe."""
    from hookline.hooks.evaluation import EvaluationHook

    nodes = to_plain(cfg.get("hooks") or {}, "hooks")
    for name in nodes:
        if (key := moved_override(f"hooks.{name}=")) is not None:
            raise ConfigError(f"hooks.{name}: this key has moved; write {key.partition('=')[0]}")
        if name in HOOK_GROUPS:
            raise ConfigError(f"hooks.{name}: the group {name} describes the hook of this name; give yours another")
    found = {name: build_hook(node, f"hooks.{name}", name) for name, node in nodes.items() if node is not None}
    evaluation = to_plain(cfg.get("evaluation") or {}, "evaluation")
    if evaluation.get("interval") is not None:
        with told_at("evaluation"):
            found["evaluation"] = EvaluationHook(
                evaluation["interval"], evaluation.get("start"), evaluation.get("by_epoch", True)
            )
    if cfg.get("logger") is not None:
        found["logger"] = build_logger(cfg)
    checkpoint = to_plain(cfg.get("checkpoint") or {}, "checkpoint")
    if checkpoint.get("_target_") is not None:
        found["checkpoint"] = build_hook(checkpoint, "checkpoint", "checkpoint")
    return list(found.values())


def build_hook(node: object, key: str, name: str) -> Hook:
    """Return the hook that a node describes; `priority` in it overrides its class's."""
    from hookline.engine import Hook, Priority

    plain = to_plain(node, key)
    priority = plain.pop("priority", None)
    hook: Hook = build(plain, key, kind=Hook, wanted="a subclass of hookline.hooks.Hook")
    hook.name = name
    if priority is not None:
        with told_at(key):
            hook.priority = Priority.parse(priority)
    return hook


def build_logger(cfg: DictConfig) -> Hook:
    """Return the hook that hands numbers to the sinks of the group `logger`."""
    from hookline.hooks.log import LogHook
    from hookline.loggers.sink import Sink

    nodes = to_plain(cfg.get("logger") or {}, "logger")
    interval = nodes.pop("interval", 10)
    sinks = {}
    for name, node in nodes.items():
        if node is None:
            continue
        sinks[name] = build(node, f"logger.{name}", kind=Sink)
    with told_at("logger"):
        return LogHook(sinks, interval)


def build_runner(cfg: DictConfig, job: Job, option: Node | None = None) -> Runner:
    """Return the runner that `cfg` describes, ready to run.

    Args:
        cfg: the config; the number of threads that was chosen takes the place of `runner.threads=auto`.
        job: the run directory.
        option: see `build_optimizer`.

    Raises:
        ConfigError: any part of the config is wrong; the cheap checks come before data are read.
    """
    import torch

    from hookline.engine import Runner
    from hookline.engine.device import Generators
    from hookline.engine.runner import phases_of
    from hookline.engine.trial import check_model, first
    from hookline.optim.group_values import base_values

    require(cfg, "data", "model", "loss", "optimizer", "lr_schedule", "update", "runner")
    with told_at(""):
        check_number("seed", cfg.seed, ge=0, lt=2**63, integer=True)
    device = build_device(cfg)
    hooks, metrics = build_hooks(cfg), build_metrics(cfg)
    Generators(device).seed(cfg.seed)
    evaluation = cfg.get("evaluation") or {}
    validates = bool(metrics) or evaluation.get("interval") is not None
    workflow = build_workflow(cfg, validates)
    training = build_source(cfg, "train")
    model = build_model(cfg, training).to(device)
    cfg.runner.threads = choose_threads(cfg, model, training)
    torch.set_num_threads(cfg.runner.threads)
    # A run without validation reads no validation data: the model is then tried on images of the training split.
    val_loader = build_val_loader(cfg, build_source(cfg, "val") if validates else training, training, device)
    freeze = build_freeze(cfg, model)
    forward = build_forward(cfg, model)
    loss = build_loss(cfg, training, device)
    val_batch = first(next(val_loader.batches(0)), 2)
    outputs = check_model(forward, loss, val_batch, len(training.classes))
    train_loader = build_train_loader(cfg, training, device, build_mix(cfg, loss, outputs, device))
    clock = build_clock(cfg, len(train_loader))
    optimizer = build_optimizer(cfg, model, option)
    update = build_update(cfg, forward=forward, loss=loss, optimizer=optimizer, freeze=freeze)
    schedules = build_schedules(cfg, clock)
    check_schedules(schedules, base_values(optimizer, schedules), clock)
    size, left = cfg.data.batch_size, len(training) - (len(train_loader) - 1) * cfg.data.batch_size
    last = min(size, left) if clock.max_iters >= len(train_loader) else size
    numbers = try_out(update, train_loader, size, last, metrics, val_batch)
    check_hooks(cfg, hooks)
    check_monitor(evaluation.get("monitor"), hooks, numbers, "val" in phases_of(workflow))
    with told_at("evaluation"):
        return Runner(
            update=update,
            train_loader=train_loader,
            val_loader=val_loader if validates else None,
            metrics=list(metrics.values()),
            clock=clock,
            schedules=schedules,
            hooks=hooks,
            monitor=evaluation.get("monitor") or "train/loss",
            mode=evaluation.get("mode"),
            seed=cfg.seed,
            job=job,
            workflow=workflow,
        )


def try_out(
    update: Update, loader: Loader, batch_size: int, last: int, metrics: Mapping[str, Metric], val_batch: Batch
) -> list[str]:
    """Make an update and measure a small batch, so that what cannot work is told now; nothing stays changed.

    Args:
        update: what a batch does to the weights.
        loader: the training batches.
        batch_size: how many samples one has.
        last: how many the last one of an epoch has.
        metrics: what is measured, by name.
        val_batch: a small batch of validation.

    Returns:
        the names of the numbers that come of it, such as `train/loss` and `val/top1`.
    """
    from hookline.engine.trial import check_metrics, check_update
    from hookline.engine.unchanged import unchanged

    with unchanged(update):
        with told_at("data.train_transforms"):
            batch = next(loader.batches(0))
        outputs = check_update(update, batch, batch_size, last)
        measured = check_metrics(update.forward, metrics, val_batch)
    seen, validated = shape_of(batch.images.shape[1:]), shape_of(val_batch.images.shape[1:])
    if seen != validated:
        log.warning("data: training images are %s, those of validation %s", seen, validated)
    return [f"train/{name}" for name in outputs if name != "logits"] + [f"val/{name}" for name in measured]


def check_hooks(cfg: DictConfig, hooks: Sequence[Hook]) -> None:
    """Raise `ConfigError` where no hook is left that follows the schedules."""
    from hookline.hooks.schedule import ScheduleHook

    if any(hook.name == "schedule" or isinstance(hook, ScheduleHook) for hook in hooks):
        return
    for field, node in schedule_nodes(cfg).items():
        if node.get("_target_") != "hookline.schedules.Fixed":
            raise ConfigError(
                f"hooks.schedule=null: must stay, as nothing else follows {field}_schedule; for a constant value choose"
                f" {field}_schedule={'fixed' if field == 'lr' else 'none'}"
            )


def check_monitor(monitor: object, hooks: Sequence[Hook], numbers: Sequence[str], validates: bool) -> None:
    """Raise `ConfigError` where the monitored number is a training's or a validation's that nothing measures.

    A hook of the user's own may log numbers that only it knows of.

    Args:
        monitor: the name; None for the default.
        hooks: the run's hooks.
        numbers: the names of what an update and a validation give.
        validates: whether the validation set is gone through without a hook that asks for it.
    """
    from hookline.hooks.ema import EMAHook
    from hookline.hooks.evaluation import EvaluationHook

    with told_at("evaluation"):
        if not isinstance(monitor, str | None):
            raise ParameterError("monitor", monitor, "the name of a number, such as val/top1")
        kind = (monitor or "").partition("/")[0]
        own = any(not type(hook).__module__.startswith("hookline.") for hook in hooks)
        if own or not (kind == "train" or kind.startswith("val")):
            return
        if not validates and not any(isinstance(hook, EvaluationHook) for hook in hooks):
            numbers = [name for name in numbers if name.startswith("train/")]
        averages = [f"val_{hook.name}/" for hook in hooks if isinstance(hook, EMAHook) and hook.evaluate]
        of_averages = [name.replace("val/", average, 1) for average in averages for name in numbers if "val/" in name]
        check_choice("monitor", monitor, [*numbers, *of_averages])


def shape_of(size: Sequence[int]) -> str:
    """Return a size as people write it, such as `1x28x28`."""
    return "x".join(map(str, size))
