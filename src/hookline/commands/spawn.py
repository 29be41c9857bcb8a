"""A job whose processes the command starts itself, by torch's own launcher.

    python -m hookline.commands.spawn FOLDER

is one of them: it finds in the folder the config as its parent composed it, runs the task with it in the parent's run
directory, and the first process leaves there what the task returned or why it was refused.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobStatus, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from hookline.commands.peers import FAILED, USER_ERROR, join
from hookline.commands.together import begin_job, check_gpus, processes_to_start
from hookline.config import local, resolvers
from hookline.config.errors import ConfigError, reason_of
from hookline.job import Job
from hookline.origin import this_process

# The tasks that several processes can do together.
TOGETHER = ("hookline.commands.train:train",)
# What a process needs of Hydra's node.
HYDRA = ("run", "sweep", "job", "job_logging", "overrides", "runtime", "verbose", "callbacks", "mode")
JOB_FILE, ERROR_FILE, VALUE_FILE = "job.json", "error.json", "value.json"
# Seconds that the processes have to save their states when they are told to end.
PATIENCE = 60
log = logging.getLogger("hookline.commands.spawn")


def processes_of(name: str, cfg: DictConfig) -> int | None:
    """Return how many processes have to be started for a task, None where this one does it, alone or with others."""
    begin_job(cfg)
    return processes_to_start(cfg) if name in TOGETHER else None


def run_stored(name: str, config: DictConfig, dir_key: str, subdir_key: str | None = None) -> Any:
    """Run a task, `module:function`, under Hydra with a stored config, and return what it returns.

    Args:
        name: the task's.
        config: Hydra's node included.
        dir_key: of the run directory.
        subdir_key: of the folder in it that is the job's.
    """
    setup_globals()

    def task(cfg: DictConfig) -> Any:
        try:
            count = processes_of(name, cfg)
            return resolve_name(name)(cfg) if count is None else start(name, cfg, count)
        except BaseException as error:
            log.debug("stopped by %s", type(error).__name__, exc_info=True)
            raise

    done = run_job(
        hydra_context=HydraContext(config_loader=None, callbacks=Callbacks(config)),  # type: ignore[arg-type]
        task_function=task,
        config=config,
        job_dir_key=dir_key,
        job_subdir_key=subdir_key,
    )
    if done.status != JobStatus.COMPLETED:
        raise done._return_value
    return done.return_value


def start(name: str, cfg: DictConfig, count: int) -> Any:
    """Run a task in so many processes, and return what the first one's returns.

    Raises:
        ConfigError: the first process has refused the config.
        SystemExit: the processes have failed, or were ended by a signal.
    """
    check_gpus(cfg, count)
    with tempfile.TemporaryDirectory(prefix="hookline_") as place:
        folder = Path(place)
        hydra = OmegaConf.to_container(HydraConfig.get(), resolve=False, enum_to_str=True)
        assert isinstance(hydra, dict)
        job = {
            "task": name,
            "config": OmegaConf.to_container(cfg, resolve=False, enum_to_str=True),
            "hydra": {key: hydra[key] for key in HYDRA},
            "directory": HydraConfig.get().runtime.output_dir,
            "arguments": sys.argv,
            "command": sys.orig_argv,
            "parent": os.getpid(),
        }
        (folder / JOB_FILE).write_text(json.dumps(job))
        run, began = Job(Path(HydraConfig.get().runtime.output_dir)), time.perf_counter()
        before = run.read_status()
        end = launch(folder, count)
        if (folder / ERROR_FILE).is_file():
            raise ConfigError(json.loads((folder / ERROR_FILE).read_text()))
        if end.status:
            after = run.read_status()
            if after == before or after.get("status") == "running":
                tell(end, time.perf_counter() - began)
            sys.exit(end.status)
        return json.loads((folder / VALUE_FILE).read_text())


@dataclass(frozen=True)
class End:
    """How the processes have ended.

    Attributes:
        status: the exit status that follows.
        reason: what has become of the one that ended first; empty where they did not fail.
        signal: the name of the signal that ended this process, and so all.
    """

    status: int = 0
    reason: str = ""
    signal: str = ""


def tell(end: End, seconds: float) -> None:
    """Tell how the processes have ended, and write it into the run directory: before they have met, they cannot."""
    from hookline.commands.train import finish, interrupted_line
    from hookline.engine.runner import Interrupted

    given: Any = OmegaConf.to_container(HydraConfig.get().overrides.task)
    job = Job(Path(HydraConfig.get().runtime.output_dir), overrides=given, origin=this_process())
    if end.signal:
        finish(job, None, seconds, Interrupted(end.signal), end.signal)
        log.info(interrupted_line(None, end.signal))
    else:
        finish(job, None, seconds, RuntimeError(end.reason), end.reason)
        log.error(end.reason)


def launch(folder: Path, count: int) -> End:
    """Start the processes and return how they have ended once all have."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from hookline.commands.signals import handled

    # What became of the processes is told by them.
    for logger in [name for name in logging.root.manager.loggerDict if name.startswith("torch.distributed.elastic")]:
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    os.environ["PYTHONPATH"] = local.python_path()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(PATIENCE))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=folder.name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # any free port
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(log_dir=str(folder / "torch")),
        signals_to_handle=",".join(handled()),
    )
    try:
        elastic_launch(config, sys.executable)("-m", "hookline.commands.spawn", str(folder))
    except ChildFailedError as error:
        statuses = [failure.exitcode for failure in error.failures.values()]
        rank, first = error.get_first_failure()
        how = f"ended with exit status {first.exitcode}"
        if first.exitcode < 0:
            how = f"was killed by {signal.Signals(-first.exitcode).name}"
        reason = f"process {rank} ({socket.gethostname()}, pid {first.pid}) {how}"
        return End(max((status for status in statuses if status > 0), default=FAILED), reason)
    except SignalException as error:
        return End(128 + int(error.sigval), signal=signal.Signals(error.sigval).name)
    return End()


def main(folder: Path) -> int:
    """Be one of the processes, and return its exit status."""
    from hookline.commands.app import explain, is_users, load
    from hookline.loggers.streams import open_streams

    open_streams()
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    try:
        job = json.loads((folder / JOB_FILE).read_text())
    except FileNotFoundError:  # the parent has gone, and another process has removed what it left
        return 128 + signal.SIGTERM
    sys.argv[:], sys.orig_argv[:] = job["arguments"], job["command"]

    def remove() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    mine = join(os.environ, job["parent"], remove)
    assert mine is not None
    load(job["task"].partition(":")[0])
    try:
        value = _run(job, mine.rank)
        if mine.rank == 0:
            (folder / VALUE_FILE).write_text(json.dumps(value))
        return 0
    except Exception as error:
        users = is_users(error)
        reason = explain(error, job["hydra"]["overrides"]["task"]) if users else reason_of(error)
        mine.fail(reason, USER_ERROR if users else FAILED)
        if users and mine.rank == 0:
            (folder / ERROR_FILE).write_text(json.dumps(reason))
        elif not users:
            traceback.print_exc()
        return USER_ERROR if users else FAILED
    finally:
        mine.leave()
        if os.getppid() != job["parent"]:
            remove()


def _run(job: dict[str, Any], rank: int) -> Any:
    """Run the task under Hydra, with the config and in the run directory of the parent."""
    resolvers.register()
    config = OmegaConf.create(job["config"])
    with open_dict(config):
        config.hydra = OmegaConf.merge(OmegaConf.structured(HydraConf), job["hydra"])
        config.hydra.run.dir, config.hydra.output_subdir = job["directory"], None
    OmegaConf.set_struct(config, True)
    assert isinstance(config, DictConfig)
    return run_stored(job["task"], config, "hydra.run.dir")


if __name__ == "__main__":
    from hookline.commands import spawn  # by its own name, or there are two of each class

    sys.exit(spawn.main(Path(sys.argv[1])))
