"""Jobs of a sweep as an array of Slurm: a file with a command for each, and a script that runs one of its lines."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from hookline.config.errors import ConfigError, first_line, reason_of
from hookline.config.files import replacing
from hookline.sweep.pool import OUTPUT

COMMANDS_FILE = "jobs.txt"
SCRIPT_FILE = "array.sh"

# Seconds that a job has to save its state before its time is over.
WARNING = 60


@dataclass
class ArrayOptions:
    """What Slurm is asked for, by the names of sbatch's options.

    Attributes:
        cpus_per_task: cores of a job.
        at_once: jobs at a time, None for as many as there is room for.
        partition, account, time, mem, gpus: as sbatch takes them; None: what the cluster has chosen.
        options: further options, such as `--constraint=a100`.
        setup: lines of shell before the job, such as `module load cuda`.
    """

    cpus_per_task: int = 1
    at_once: int | None = None
    partition: str | None = None
    account: str | None = None
    time: str | int | None = None
    mem: str | int | None = None
    gpus: str | int | None = None
    options: Sequence[str] = ()
    setup: Sequence[str] = field(default_factory=list)


def command_of(job: Path) -> str:
    """Return the line of shell that runs one job, or goes on with it, wherever it is started."""
    words = [sys.executable, "-m", "hookline.commands.sweep_job", str(job)]
    source = str(Path(str(files("hookline"))).parent)
    path = os.pathsep.join(dict.fromkeys([source, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]))
    return f"PYTHONPATH={shlex.quote(path)} exec {shlex.join(words)} >> {shlex.quote(str(job / OUTPUT))} 2>&1"


def write_array(sweep: Path, jobs: Sequence[Path], options: ArrayOptions) -> Path:
    """Write a command for each job and the script that runs them as an array, and return the script."""
    commands, script = sweep / COMMANDS_FILE, sweep / SCRIPT_FILE
    with replacing(commands) as beside:
        beside.write_text("".join(f"{command_of(job)}\n" for job in jobs))
    with replacing(script) as beside:
        beside.write_text(script_of(sweep, commands, len(jobs), options))
        beside.chmod(0o755)
    return script


def script_of(sweep: Path, commands: Path, count: int, options: ArrayOptions) -> str:
    """Return the script of an array in which each task runs a line of the file of commands."""
    given = {
        "job-name": sweep.name,
        "array": f"0-{count - 1}{f'%{options.at_once}' if options.at_once else ''}",
        "cpus-per-task": options.cpus_per_task,
        "partition": options.partition,
        "account": options.account,
        "time": options.time,
        "mem": options.mem,
        "gpus-per-task" if options.gpus is not None else "gpus": options.gpus,
        # Each job writes into a file of its own. One that is preempted is put back into the queue, and goes on.
        "output": "/dev/null",
        "signal": f"B:TERM@{WARNING}",
    }
    lines = [f"#SBATCH {shlex.quote(f'--{name}={value}')}" for name, value in given.items() if value is not None]
    lines += [f"#SBATCH {option}" for option in ["--ntasks=1", "--requeue", *options.options]]
    run = f'eval "$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {shlex.quote(str(commands))})"'
    return "\n".join(["#!/bin/bash", *lines, *options.setup, run, ""])


def submit(script: Path) -> str:
    """Submit a script, and return the number of its array.

    Raises:
        ConfigError: sbatch is not there, or refused the script.
    """
    return asked("sbatch", "--parsable", str(script)).strip().partition(";")[0]


def queued(arrays: Sequence[str]) -> dict[str, set[int]]:
    """Return the tasks of these arrays that wait or run, by the array's number.

    Raises:
        ConfigError: squeue is not there, or the controller does not answer.
    """
    found: dict[str, set[int]] = {}
    # By the user's jobs: an array that is over for some minutes is an error when it is asked for by its number.
    for line in asked("squeue", "-h", "-r", "--me", "-o", "%F %K").splitlines():
        array, task = line.split()
        if array in arrays and task.isdigit():
            found.setdefault(array, set()).add(int(task))
    return found


def cancel_waiting(arrays: Sequence[str]) -> None:
    """Take what has not begun of these arrays out of the queue."""
    for array in arrays:
        asked("scancel", "--state=PENDING", array)


def asked(*command: str) -> str:
    """Return what a command of Slurm prints.

    Raises:
        ConfigError: it is not installed, or fails.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    except FileNotFoundError as error:
        raise ConfigError(
            f"hydra/launcher=slurm: there is no {command[0]} here; install Slurm's client (Debian: apt-get install"
            " slurm-client), or let launcher.emit=true write the script for a machine that has it"
        ) from error
    except subprocess.CalledProcessError as error:
        reason = first_line(error.stderr or error.stdout or "") or f"exit status {error.returncode}"
        raise ConfigError(f"hydra/launcher=slurm: {command[0]} refused: {reason}") from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"hydra/launcher=slurm: {command[0]} does not answer: {reason_of(error)}") from error
