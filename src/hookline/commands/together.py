"""A run of several processes: one run directory, one config and one process group for all of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from hookline.commands.arguments import check_flags
from hookline.commands.launchers import started_by
from hookline.commands.peers import PeerLost, Peers, peers
from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ConfigError, ParameterError, shown
from hookline.config.flat import changes
from hookline.config.instantiate import told_at
from hookline.config.quoting import quoted

if TYPE_CHECKING:
    import torch

    from hookline.engine.processes import Processes

MOST = 4096
WEEK = 7 * 24 * 3600
GPU = "gpu"
# Keys that say how a process is run, and so may differ between nodes.
OF_EACH = ("hydra", "launcher", "sweep")


def shared_arguments(mine: Peers, arguments: Sequence[str]) -> list[str]:
    """Return the command line with the run directory that the first process has chosen.

    Raises:
        ConfigError: the processes were started with different arguments, or for a sweep.
    """
    if mine.rank == 0:
        for rank, hello in enumerate(mine.hellos):
            # Where their order makes a difference, so do the configs.
            first, other = mine.hellos[0].arguments, hello.arguments
            own = " ".join(argument for argument in other if argument not in first)
            lacks = " ".join(argument for argument in first if argument not in other)
            if own or lacks:
                told = f"process {rank} ({hello.host}) was started with other arguments than process 0"
                raise ConfigError(f"{told}: {own or 'nothing'} in place of {lacks or 'nothing'}")
        if check_flags(arguments).multirun:
            raise ConfigError(
                f"--multirun: a sweep starts the processes of its jobs itself: leave out {mine.started.launcher}, and"
                f" give distributed.processes={mine.count}"
            )
        return list(arguments)
    flags = check_flags(arguments)
    if flags.cfg or flags.info:
        return list(arguments)
    directory = mine.ask("run")["directory"]
    return [*arguments, f"hydra.run.dir={quoted(directory)}", "hydra.output_subdir=null"]


def begin_job(cfg: DictConfig) -> None:
    """Agree with the other processes, if there are any, on the run directory and the config.

    From here on all but the first one log to `logs/rank<N>.log` in the run directory, where also goes what they print.

    Raises:
        ConfigError: this process's config is another one than the first one's.
    """
    mine = peers()
    if mine is None:
        return
    directory = Path(HydraConfig.get().runtime.output_dir)
    own = OmegaConf.to_yaml(OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in OF_EACH]))
    if mine.rank == 0:
        mine.publish("run", {"directory": str(directory.resolve()), "config": own})
        return
    path = directory / "logs" / f"rank{mine.rank}.log"
    mine.show_in(path)
    log_to(path)
    first = mine.ask("run")["config"]
    if own != first:
        raise ConfigError(f"the config differs from that of process 0: {', '.join(differences(first, own))}")


def log_to(path: Path) -> None:
    """Let the log go to this file alone."""
    for logger in (logging.getLogger(), logging.getLogger("py.warnings")):
        for handler in list(logger.handlers):
            if isinstance(handler, logging.FileHandler):
                handler.close()
                handler.baseFilename = str(path)
                handler.stream = None  # the next message opens it
            else:
                logger.removeHandler(handler)


def differences(then: str, now: str) -> list[str]:
    """Return the keys in which two configs differ, with both values."""
    found = changes(yaml.safe_load(then), yaml.safe_load(now))
    return [f"{key} is {shown(new)}, not {shown(old)}" for key, old, new in found]


def processes_to_start(cfg: DictConfig) -> int | None:
    """Return how many processes the command has to start itself, None where it is the run, or one process of it.

    Raises:
        ConfigError: a key of `distributed` cannot be what it is, or does not fit what a launcher has started.
    """
    node, mine = cfg.get("distributed"), peers()
    if node is None or "processes" not in node:
        if mine is not None:
            raise ConfigError(
                f"distributed=none: is for one process, and {mine.started.launcher} has started {mine.count}; give"
                " distributed=auto"
            )
        return None
    with told_at("distributed"):
        count = _checked_processes(node)
    if mine is not None:
        if count not in (None, mine.count):
            raise ConfigError(
                f"distributed.processes={node.processes}: {mine.started.launcher} has started {mine.count} already;"
                " leave it out"
            )
        check_batch(cfg, mine.count)
        return None
    if count is None:
        if option_of(node) != "auto" and started_by(os.environ) is None:
            raise ConfigError(
                f"distributed={option_of(node)}: nothing says how many processes there are: give"
                " distributed.processes=2 (1 for this one alone, gpu for one on each GPU), or start them with torchrun"
                " or srun"
            )
        return None
    if count == 1:
        return None
    check_batch(cfg, count)
    return count


def option_of(node: Any) -> str:
    """Return the option of the group `distributed` that a node comes from."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    chosen = choices.get("distributed")
    if chosen is not None:
        return str(chosen)
    return "auto" if "_target_" not in node else str(node._target_).rpartition(".")[2]


def _checked_processes(node: Any) -> int | None:
    """Return how many processes the node asks for, None where it leaves that to a launcher."""
    check_number("timeout", node.timeout, ge=2, le=WEEK)
    check_number("silence", node.silence, ge=2)
    check_choice("backend", node.backend, ("auto", "gloo", "nccl"))
    wanted = node.processes
    if wanted is None:
        return None
    if wanted == GPU:
        found = gpus()
        if not found:
            raise ParameterError("processes", GPU, "a number: this machine has no GPU that can be used")
        return found
    if not isinstance(wanted, int) or isinstance(wanted, bool) or not 0 < wanted <= MOST:
        raise ParameterError("processes", wanted, f"null, gpu or an integer > 0 and <= {MOST}")
    return wanted


def gpus() -> int:
    """Return how many GPUs this process may use, without initialising CUDA."""
    import torch

    return torch.cuda.device_count()


def check_batch(cfg: DictConfig, count: int) -> None:
    """Raise `ConfigError` where processes cannot share the batches."""
    size = (cfg.get("data") or {}).get("batch_size")
    if isinstance(size, int) and 0 < size < count:
        raise ConfigError(f"data.batch_size={size}: must be >= {count}, one sample for each of the {count} processes")


def check_gpus(cfg: DictConfig, count: int) -> None:
    """Raise `ConfigError` where this machine has fewer GPUs than processes that want one each."""
    device = str(cfg.runner.device)
    found = gpus() if device != "cpu" else 0
    if device.startswith("cuda:"):
        raise ConfigError(
            f"runner.device={device}: must be auto, cuda or cpu with {count} processes, each has its own GPU"
        )
    if (found or device == "cuda") and count > found:
        raise ConfigError(
            f"distributed.processes={count}: this machine has {found} GPU{'s' * (found != 1)}, and each process needs"
            " its own; give distributed.processes=gpu, or runner.device=cpu"
        )


@contextmanager
def process_group(cfg: DictConfig) -> Iterator[Processes]:
    """Be one of the processes that train together; where there are several, their collective calls work in the block.

    Each process has the GPU of its number on its machine, and its share of the machine's cores.

    Raises:
        ConfigError: there are more processes than GPUs, or the backend is not there.
    """
    from hookline.engine.processes import Processes, call_counter

    mine = peers()
    if mine is None:
        yield Processes()
        return
    from torch import distributed as dist

    mine.silence, mine.timeout = float(cfg.distributed.silence), float(cfg.distributed.timeout)
    device, number = own_device(cfg, mine)
    backend = {"auto": "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"}.get(
        cfg.distributed.backend, cfg.distributed.backend
    )
    if "nccl" in backend and not (dist.is_nccl_available() and device.type == "cuda"):
        lacking = "this torch has no NCCL" if device.type == "cuda" else f"NCCL is for GPUs, and the device is {device}"
        raise ConfigError(f"distributed.backend={cfg.distributed.backend}: {lacking}; give gloo")
    if len(mine.here) == mine.count:
        # By itself gloo takes the interface of the host's name, which need not be known on one machine.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    limit = timedelta(seconds=mine.timeout)
    try:
        dist.init_process_group(
            backend,
            store=dist.PrefixStore("group", mine.store),
            rank=mine.rank,
            world_size=mine.count,
            timeout=limit,
            device_id=device if device.type == "cuda" and "nccl" in backend else None,
        )
    except RuntimeError as error:
        loss = mine.cause_of(error)
        if loss is None and isinstance(error, dist.DistStoreError):
            raise ConfigError(
                f"distributed.timeout={cfg.distributed.timeout}: the processes have not come together within it; give"
                " a longer one"
            ) from error
        if loss is None:
            raise
        raise PeerLost(loss) from error
    mine.calls = counter = call_counter()
    try:
        yield Processes(mine.rank, mine.count, number, mine.sharing)
    finally:
        made = counter()
        mine.calls = lambda: made  # the group may go
        if mine.loss is None:  # with a process gone NCCL would wait for it
            dist.destroy_process_group()


def own_device(cfg: DictConfig, mine: Peers) -> tuple[torch.device, int]:
    """Return this process's device, made torch's current one if it is a GPU, and its number on the machine."""
    import torch

    from hookline.engine.device import resolve_device

    with told_at("runner"):
        device = resolve_device(cfg.runner.device)
    if device.type != "cuda":
        return device, mine.here.index(mine.rank)
    check_gpus(cfg, 1 if gpus() == 1 else len(mine.here))
    # Slurm may give each process a GPU of its own, which each calls the first.
    seen = [str(torch.cuda.get_device_properties(index).uuid) for index in range(gpus())]
    mine.publish(f"gpus/{mine.rank}", seen)
    alike = [rank for rank in mine.here if mine.ask(f"gpus/{rank}") == seen]
    if len(alike) > len(seen):
        raise ConfigError(
            f"{mine.started.launcher}: has started {len(alike)} processes on {mine.hellos[mine.rank].host}, which has"
            f" {len(seen)} GPU{'s' * (len(seen) != 1)}, and each needs its own; start fewer, or give runner.device=cpu"
        )
    index = alike.index(mine.rank)
    torch.cuda.set_device(index)
    return torch.device("cuda", index), index
