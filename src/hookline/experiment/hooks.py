"""Hooks, sinks and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from hookline.config.checks import check_choice
from hookline.config.errors import ConfigError, ParameterError
from hookline.config.instantiate import build, to_plain, told_at
from hookline.config.moved import moved_override

if TYPE_CHECKING:
    from hookline.engine import Hook
    from hookline.metrics import Metric

# Groups that each describe one hook, which has the group's name.
HOOK_GROUPS = ("evaluation", "logger", "checkpoint")
CHECKPOINT, SHARDED_CHECKPOINT = (
    "hookline.hooks.checkpoint.CheckpointHook",
    "hookline.hooks.checkpoint.ShardedCheckpointHook",
)


def validates(cfg: DictConfig) -> bool:
    """Say whether the validation set is used: measured by a metric, or gone through at an interval."""
    evaluation = cfg.get("evaluation") or {}
    metrics = evaluation.get("metrics") or {}
    return evaluation.get("interval") is not None or any(node is not None for node in metrics.values())


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


def build_hooks(cfg: DictConfig, *, sharded: bool = False) -> list[Hook]:
    """Return the hooks: those of the group `hooks`, and those that `evaluation`, `logger` and `checkpoint` describe.

    Args:
        cfg: the config.
        sharded: each process has a part of the weights, and so of each checkpoint.
    """
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
        found |= build_loggers(cfg)
    checkpoint = to_plain(cfg.get("checkpoint") or {}, "checkpoint")
    if sharded and checkpoint.get("_target_") == CHECKPOINT:
        checkpoint["_target_"] = SHARDED_CHECKPOINT
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
    with told_at(key):
        hook.priority = Priority.parse(hook.priority if priority is None else priority)
    return hook


def build_loggers(cfg: DictConfig) -> dict[str, Hook]:
    """Return by name the hook that hands numbers to the sinks of the group `logger`, and those of what it asks for."""
    from hookline.hooks.log import LogHook
    from hookline.hooks.log_model import LogModelHook
    from hookline.hooks.log_pictures import LogPicturesHook
    from hookline.loggers.sink import Sink
    from hookline.loggers.sinks import Sinks

    nodes = to_plain(cfg.get("logger") or {}, "logger")
    interval = nodes.pop("interval", 10)
    pictures = {key: nodes.pop(key, 0) for key in ("augmented", "misclassified")}
    histograms, graph = nodes.pop("histograms", None), nodes.pop("graph", False)
    sinks = Sinks({n: build(node, f"logger.{n}", kind=Sink) for n, node in nodes.items() if node is not None})
    with told_at("logger"):
        found: dict[str, Hook] = {"logger": LogHook(sinks, interval)}
        of_pictures, of_model = LogPicturesHook(sinks, **pictures), LogModelHook(sinks, histograms, graph)
    if any(pictures.values()):
        found["logger_pictures"] = of_pictures
    if histograms is not None or graph:
        found["logger_model"] = of_model
    return found


def check_numbers(
    cfg: DictConfig, hooks: Sequence[Hook], numbers: Sequence[str], followed: Sequence[tuple[str, str]] = ()
) -> None:
    """Raise `ConfigError` where a number that is waited for is none that the run records.

    A hook of the user's own may log numbers that only it knows of.

    Args:
        cfg: the config.
        hooks: the run's hooks.
        numbers: the names of what an update and a validation give.
        followed: what schedules follow: the key of each, and the name of its number.
    """
    from hookline.hooks.early_stopping import EarlyStoppingHook
    from hookline.hooks.ema import EMAHook
    from hookline.hooks.evaluation import EvaluationHook
    from hookline.hooks.train_metrics import NUMBERS, TrainMetricsHook

    val_epochs = any(mode == "val" for mode, _ in cfg.runner.workflow)
    if not val_epochs and not any(isinstance(hook, EvaluationHook) for hook in hooks):
        numbers = [name for name in numbers if name.startswith("train/")]
    averages = [f"val_{hook.name}/" for hook in hooks if isinstance(hook, EMAHook) and hook.evaluate]
    known = [
        *numbers,
        *(name.replace("val/", average, 1) for average in averages for name in numbers if "val/" in name),
    ]
    known += NUMBERS if any(isinstance(hook, TrainMetricsHook) for hook in hooks) else ()
    own = any(not type(hook).__module__.startswith("hookline.") for hook in hooks)
    monitors = [("evaluation", (cfg.get("evaluation") or {}).get("monitor"))]
    monitors += [(f"hooks.{hook.name}", hook.monitor) for hook in hooks if isinstance(hook, EarlyStoppingHook)]
    for key, monitor in [*monitors, *followed]:
        with told_at(key):
            if not isinstance(monitor, str | None):
                raise ParameterError("monitor", monitor, "the name of a number, such as val/top1")
            if monitor == "" or (monitor and not own):
                check_choice("monitor", monitor, known)


def check_together(hooks: Sequence[Hook]) -> None:
    """Raise `ConfigError` where a hook needs another one that is not there, or comes twice where it sums up."""
    from hookline.hooks.checkpoint import CheckpointHook
    from hookline.hooks.nonfinite_loss import NonFiniteLossHook
    from hookline.hooks.train_metrics import TrainMetricsHook

    summing = [hook.name for hook in hooks if isinstance(hook, TrainMetricsHook)]
    if len(summing) > 1:
        raise ConfigError(f"hooks.{summing[1]}: sums up what hooks.{summing[0]} sums up already; leave it out")
    if any(isinstance(hook, CheckpointHook) and hook.save_optimizer for hook in hooks):
        return
    for hook in hooks:
        if isinstance(hook, NonFiniteLossHook) and hook.action == "rollback":
            raise ConfigError(
                f"hooks.{hook.name}.action=rollback: needs checkpoints to go back to; choose checkpoint=default with"
                " checkpoint.save_optimizer=true, or action=stop"
            )


def check_sharded(hooks: Sequence[Hook]) -> None:
    """Raise `ConfigError` where a hook needs whole weights, of which each process has parts."""
    from hookline.hooks.checkpoint import CheckpointHook
    from hookline.hooks.first_nonfinite import FirstNonFiniteHook
    from hookline.hooks.log_model import LogModelHook

    for hook in hooks:
        if isinstance(hook, LogModelHook):
            raise ConfigError(
                "logger: histograms must be null and graph false with distributed=fsdp: no process has whole weights"
            )
        if isinstance(hook, FirstNonFiniteHook):
            raise ConfigError(f"hooks.{hook.name}: cannot be used with distributed=fsdp; choose distributed=ddp for it")
        if isinstance(hook, CheckpointHook) and hook.first_only:
            raise ConfigError(
                f"checkpoint._target_: must be {CHECKPOINT} with distributed=fsdp, where each process writes its part"
            )
