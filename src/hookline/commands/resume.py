"""Going on with a run: which, from where, and what may differ."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from hookline.config.checks import check_bool
from hookline.config.errors import ConfigError, reason_of, shown
from hookline.config.files import replacing
from hookline.config.flat import changes
from hookline.config.instantiate import told_at
from hookline.config.quoting import quoted
from hookline.experiment.trust import check_links, check_overrides
from hookline.loggers.console import log_file_lengths

log = logging.getLogger(__name__)

# Where Hydra keeps what the command line changed in a run's config.
OVERRIDES = Path(".hydra", "overrides.yaml")

# Keys that may change in mid-run, with all that is below them: how long, on what, what is logged and kept.
MAY_CHANGE = (
    *("resume", "resume_force", "trust", "logger", "checkpoint", "evaluation.interval", "evaluation.start"),
    *("hooks.text", "hooks.lr_curve", "hooks.profiler", "runner.max_epochs", "runner.max_iters"),
    *("runner.device", "runner.threads"),
    *("distributed.processes", "distributed.backend", "distributed.timeout", "distributed.silence"),
    *("data.root", "data.download", "data.workers", "data.worker_type", "data.in_memory", "data.cache_dir"),
)

# Keys that may not: with another value it would be another run.
MUST_STAY = ("seed", "model", "optimizer._target_", "data._target_", "data.batch_size", "freeze", "param_groups")

# These say where the first weights come from: the state has its own.
STARTS = ("model.pretrained", "model.checkpoint_path", "model.checkpoint_weights", "model.weights")


def with_stored_overrides(arguments: Sequence[str]) -> list[str]:
    """Return the command line of a run that goes on: the overrides that it was started with, then those given now.

    Without `resume=RUN_DIR` or `resume=FILE` the arguments are returned as they are.

    Raises:
        ConfigError: there is no such run, or its overrides do what a stranger's must not.
    """
    given = _value_of("resume", arguments)
    if given in (None, "auto"):
        return list(arguments)
    if any(argument in ("-m", "--multirun") for argument in arguments):
        raise ConfigError(f"resume={given}: cannot be combined with --multirun; start the sweep again instead")
    run_dir = run_directory(Path(str(given)).expanduser())
    if any(_key(argument) == "hydra.run.dir" for argument in arguments):
        raise ConfigError(f"resume={given}: goes on in its own directory; leave out hydra.run.dir, or give resume=auto")
    trust = _trust(arguments)
    check_links(run_dir, trust, f"resume={given}")
    stored = run_dir / OVERRIDES
    try:
        overrides = yaml.safe_load(stored.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"resume={given}: {stored} cannot be read: {reason_of(error)}") from error
    if not isinstance(overrides, list) or not all(isinstance(override, str) for override in overrides):
        raise ConfigError(f"resume={given}: {stored} is damaged: it holds no list of overrides")
    added = {_key(override) for override in overrides if override.startswith("+")}
    now = {_key(argument) for argument in arguments} | {"resume", "resume_force", "trust"}
    kept = [override for override in overrides if _key(override) not in now]
    check_overrides(kept, trust, str(stored))
    # A key that the run was started with is there already: it takes no plus, and to remove it is not to add it.
    given_now = [f"+{a}" if _key(a) in added and a[0] not in "+~-" else a for a in arguments]
    given_now = [a for a in given_now if not (a.startswith("~") and _key(a) in added)]
    # Hydra would write its own files anew, and not as a whole.
    return [*kept, f"hydra.run.dir={quoted(str(run_dir))}", "hydra.output_subdir=null", *given_now]


def store_overrides(directory: Path, overrides: Sequence[str]) -> None:
    """Replace what the run directory says of the overrides, so that the next time goes on from what holds now."""
    with replacing(directory / OVERRIDES) as beside:
        beside.write_text(yaml.safe_dump(list(overrides), allow_unicode=True))


def run_directory(path: Path) -> Path:
    """Return the run directory that a path means: itself, or that of a checkpoint in it."""
    from hookline.checkpoint import is_checkpoint

    if is_checkpoint(path):
        found = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    elif path.is_dir():
        found = path.parent if path.name == "checkpoints" else path
    else:
        raise ConfigError(f"resume={path}: there is no such run directory or checkpoint")
    if not (found / OVERRIDES).is_file():
        raise ConfigError(f"resume={path}: {found} is no run directory: it has no {OVERRIDES}")
    return found.resolve()


def load_state(cfg: DictConfig, directory: Path) -> dict[str, Any] | None:
    """Return the content of the checkpoint that the run goes on from, None for a run from the start.

    Raises:
        ConfigError: there is none where one was asked for, or it cannot be read.
    """
    from hookline.checkpoint import CheckpointError, CheckpointFolder, is_checkpoint, read
    from hookline.engine.run_state import StateError, check_format

    with told_at(""):
        check_bool("resume_force", cfg.resume_force)
    wanted = cfg.resume
    if wanted is None:
        return None
    if not isinstance(wanted, str) or not wanted:
        raise ConfigError(f"resume={wanted}: must be a run directory, one of its checkpoints, auto or null")
    path = Path(str(wanted)).expanduser()
    try:
        if wanted != "auto" and is_checkpoint(path):
            state = read(path)
        else:
            found = CheckpointFolder(directory / "checkpoints").newest()
            if found is None and wanted == "auto":
                return None
            if found is None:
                raise ConfigError(f"resume={wanted}: {directory / 'checkpoints'} holds no checkpoint")
            state = found[1]
        check_format(state)
        _check_content(state)
    except (CheckpointError, StateError) as error:
        raise ConfigError(f"resume={wanted}: {error}") from error
    return state


def _check_content(state: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` where a checkpoint lacks what resuming needs."""
    from hookline.checkpoint import CheckpointError

    parts = state.get("parts")
    clock = parts.get("clock") if isinstance(parts, Mapping) else None
    if not isinstance(state.get("config"), str) or not isinstance(state.get("logs"), Mapping) or not clock:
        raise CheckpointError("the checkpoint lacks its config, the lengths of its logs, or its clock")
    try:
        yaml.safe_load(state["config"])
    except yaml.YAMLError as error:
        raise CheckpointError(f"the checkpoint's config cannot be read: {reason_of(error)}") from error


def check_changes(cfg: DictConfig, stored: str, *, force: bool) -> list[str]:
    """Return what differs from the config that the run was started with, a line each.

    Args:
        cfg: the config now.
        stored: the config then, as YAML.
        force: allow what would be another run.

    Raises:
        ConfigError: something differs that makes another run.
    """
    now = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(now, dict)
    lines = []
    for key, old, new in changes(yaml.safe_load(stored) or {}, now):
        if _below(key, STARTS) or _below(key, ("resume", "resume_force", "trust", "launcher")):
            continue
        change = f"{key}: {shown(old)} -> {shown(new)}"
        if _below(key, MUST_STAY) and not force:
            raise ConfigError(
                f"{key}={shown(new)}: cannot change in mid-run, it was {shown(old)}; start a new run, or give"
                " resume_force=true"
            )
        lines.append(change if _below(key, MAY_CHANGE) else f"{change} (the run goes on differently from here)")
    return lines


def check_classes(state: Mapping[str, Any], classes: Sequence[str]) -> None:
    """Raise `StateError` where the run was trained on a data set of other classes."""
    from hookline.data.labels import some
    from hookline.engine.run_state import StateError

    then, now = (state.get("inputs") or {}).get("classes"), [str(name) for name in classes]
    if then is not None and then != now:
        raise StateError(
            f"the data set is another one: it had the {len(then)} classes {some(then)}, and here it has the"
            f" {len(now)} classes {some(now)}"
        )


def cut_logs(directory: Path, lengths: Mapping[str, int]) -> None:
    """Cut the run's log files back to the lengths that they had at the checkpoint; others are emptied."""
    for name, length in log_file_lengths(directory).items():
        if length > lengths.get(name, 0):
            os.truncate(directory / name, lengths.get(name, 0))


def cut_back(directory: Path, state: Mapping[str, Any] | None) -> None:
    """Remove from a run directory what came after the state that the run goes on from; without one, all its logs."""
    from hookline.checkpoint import CheckpointFolder

    cut_logs(directory, state["logs"] if state else {})
    CheckpointFolder(directory / "checkpoints").cut_back(state["parts"]["clock"]["iter"] if state else 0)


def _value_of(key: str, arguments: Sequence[str]) -> str | None:
    found = [argument for argument in arguments if _key(argument) == key and "=" in argument]
    if not found:
        return None
    value = OverridesParser.create().parse_override(found[-1]).value()
    return None if value is None else str(value)


def _trust(arguments: Sequence[str]) -> Any:
    found = [argument for argument in arguments if _key(argument) == "trust" and "=" in argument]
    return OverridesParser.create().parse_override(found[-1]).value() if found else False


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0].partition("@")[0]


def _below(key: str, prefixes: Sequence[str]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)
