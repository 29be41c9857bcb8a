"""What a launcher's environment says of the processes that train together: torchrun's, Slurm's, or one like these."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hookline.config.errors import ConfigError

# Ports that Linux gives to nobody by itself, one for each of Slurm's steps that may share a node.
PORTS = range(20000, 32000)
STEPS_PER_JOB = 61

# What messages call a launcher that only its variables tell of.
BY_HAND = "the environment"


@dataclass(frozen=True)
class Started:
    """How a launcher has started this process.

    Attributes:
        launcher: what it is called in messages.
        rank: the number of this process, from 0.
        count: how many processes there are, on all nodes.
        address: the host on which they meet.
        port: the port there.
        agent: whether the launcher itself keeps the store at that port; else the first process does.
        attempt: how often the launcher has started the processes before.
    """

    launcher: str
    rank: int
    count: int
    address: str
    port: int
    agent: bool = False
    attempt: int = 0

    @property
    def by_hand(self) -> bool:
        """Whether the environment is all there is of a launcher."""
        return self.launcher == BY_HAND


def started_by(environment: Mapping[str, str]) -> Started | None:
    """Return how a launcher has started this process, None where there is no trace of one.

    Torchrun's variables come first, as it may run within a step of Slurm's. Of Slurm, only a step counts that `srun`
    has started: a batch script has variables of the same names, and is one process.

    Raises:
        ConfigError: a variable cannot be what it is.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return _by_torchrun(environment)
    if "SLURM_STEP_ID" in environment and "SLURM_PROCID" in environment:
        return _by_slurm(environment)
    if "RANK" in environment:
        raise ConfigError(f"RANK={environment['RANK']}: WORLD_SIZE must be set, too; a launcher sets both")
    if _number(environment, "WORLD_SIZE") > 1:
        raise ConfigError(f"WORLD_SIZE={environment['WORLD_SIZE']}: RANK must be set, too; a launcher sets both")
    return None


def check_alone(environment: Mapping[str, str], arguments: Sequence[str]) -> None:
    """Check that a command which runs in one process is not asked to run in several.

    Raises:
        ConfigError: a launcher has started several, or an argument asks for them.
    """
    command = Path(sys.argv[0]).name
    started = started_by(environment)
    if started is not None and started.count > 1:
        raise ConfigError(
            f"{command}: runs in one process, and {started.launcher} has started {started.count}: start it without"
        )
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.lstrip("+") == "distributed.processes" and value not in ("null", "1"):
            raise ConfigError(f"{argument}: {command} runs in one process; leave it out")


def speaks(environment: Mapping[str, str]) -> bool:
    """Say whether a process tells of an error before it has met the others: all but what is surely not the first do."""
    ranks = [environment.get(name, "") for name in ("RANK", "SLURM_PROCID") if name in environment]
    counts = [environment.get(name, "") for name in ("WORLD_SIZE", "SLURM_NTASKS") if name in environment]
    if not ranks or not counts or not (_is_number(ranks[0]) and _is_number(counts[0])):
        return True
    return not 0 < int(ranks[0]) < int(counts[0])


def _by_torchrun(environment: Mapping[str, str]) -> Started:
    count = _number(environment, "WORLD_SIZE", least=1)
    rank = _number(environment, "RANK", below=count)
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not environment.get(name)]
    if missing and count > 1:
        raise ConfigError(f"WORLD_SIZE={count}: {' and '.join(missing)} must be set, too; torchrun sets them by itself")
    return Started(
        "torchrun" if "TORCHELASTIC_RUN_ID" in environment else BY_HAND,
        rank,
        count,
        environment.get("MASTER_ADDR") or "localhost",
        _number(environment, "MASTER_PORT", least=1, below=65536) if environment.get("MASTER_PORT") else 0,
        agent=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        attempt=_number(environment, "TORCHELASTIC_RESTART_COUNT"),
    )


def _by_slurm(environment: Mapping[str, str]) -> Started:
    tasks = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
    count = _number(environment, tasks, least=1)
    rank = _number(environment, "SLURM_PROCID", below=count)
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST") or "localhost"
    step = _number(environment, "SLURM_JOB_ID") * STEPS_PER_JOB + _number(environment, "SLURM_STEP_ID")
    one = environment.get("SLURM_STEP_NUM_NODES", environment.get("SLURM_NNODES")) == "1"
    port = PORTS[step % len(PORTS)]
    return Started(
        "srun",
        rank,
        count,
        environment.get("MASTER_ADDR") or ("localhost" if one else first_host(nodes)),
        _number(environment, "MASTER_PORT", least=1, below=65536) if environment.get("MASTER_PORT") else port,
        attempt=_number(environment, "SLURM_RESTART_COUNT"),
    )


def first_host(nodes: str) -> str:
    """Return the first host of a list as Slurm writes it: `gpu[07-09,12],cpu1` begins with `gpu07`."""
    match = re.match(r"([^,\[]*)(?:\[([^\],-]+)[^\]]*\])?([^,\[]*)", nodes)
    return "".join(part or "" for part in match.groups()) if match else nodes


def _number(environment: Mapping[str, str], name: str, least: int = 0, below: int | None = None) -> int:
    text = environment.get(name, "0")
    if not _is_number(text) or int(text) < least or (below is not None and int(text) >= below):
        bounds = f">= {least}" + (f" and < {below}" if below is not None else "")
        raise ConfigError(f"{name}={text}: must be an integer {bounds}; a launcher sets it")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
