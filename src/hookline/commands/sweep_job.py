"""One job of a sweep, in a process of its own: from its directory to its last state.

    python -m hookline.commands.sweep_job JOB_DIR

runs a job by itself, from what was stored when it was composed: as a launcher on this machine or a cluster does.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf, open_dict

from hookline.commands.app import explain, is_users
from hookline.commands.peers import FAILED, USER_ERROR
from hookline.commands.spawn import run_stored
from hookline.config import resolvers
from hookline.config.errors import reason_of
from hookline.job import RESULT_FILE
from hookline.loggers.streams import open_streams
from hookline.sweep.jobs import ENDED, read_state, read_stored
from hookline.sweep.launch import BUSY
from hookline.sweep.lock import LOCK_FILE, PATIENCE, take
from hookline.sweep.store import write_state
from hookline.sweep.watch import end_with

# By its own name also where it is the main module: what is below `hookline` goes into the log.
log = logging.getLogger("hookline.commands.sweep_job")


def run(directory: str | Path, alive: int | None = None) -> int:
    """Run a job to its end, or on from its newest checkpoint, and return its exit status.

    What it reaches is in its run directory; its last state and the result are written together, so a job that is done
    is done once.

    Args:
        directory: of the job.
        alive: the descriptor of a pipe with whose other end the job is to end.
    """
    if alive is not None:
        end_with(alive)
    place = Path(directory).resolve()
    if take(place / LOCK_FILE, PATIENCE) is None:  # held until this process and its children are gone
        return BUSY
    before = read_state(place)
    if before["state"] == "done":
        return 0
    job = read_stored(place)
    os.chdir(job["cwd"])
    # Read by whatever asks how many cores there are: the number of threads, which results depend on, is the job's own.
    os.environ["OMP_NUM_THREADS"] = str(job["threads"])
    began, earlier = time.time(), float(before.get("seconds") or 0.0)
    attempts = int(before.get("attempts") or 0) + 1
    so_far = {"attempts": attempts, "started": before.get("started") or began, "seconds": earlier}
    write_state(place, "running", **so_far)
    outcome = _outcome(place, job)
    status = int(outcome.pop("exit_status"))
    so_far["seconds"] = round(earlier + time.time() - began, 3)
    write_state(place, outcome.pop("state"), exit_status=status, **so_far, **outcome)
    return status


def _outcome(place: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Run the task and return the state that it ends in, with its result or its reason."""
    try:
        value = _run_task(place, job)
    except SystemExit as error:
        result = _result(place)
        reason, status = result.get("reason"), error.code if isinstance(error.code, int) else 1
        if result.get("status") == "interrupted":
            return {"state": "interrupted", "reason": reason, "exit_status": status}
        return {"state": "failed", "reason": reason or f"it left with exit status {status}", "exit_status": status or 1}
    except KeyboardInterrupt:
        return {"state": "interrupted", "reason": "SIGINT", "exit_status": 130}
    except BaseException as error:
        users = is_users(error)
        reason = explain(error, job["overrides"]) if users else reason_of(error)
        return {"state": "failed", "reason": reason, "exit_status": USER_ERROR if users else FAILED}
    result = _result(place)
    finished = result.get("status") in ENDED
    # As text, which unlike a number of JSON may be infinite: the worst score of a run that diverged.
    number = str(float(value)) if isinstance(value, int | float) else None
    return {"state": "done", "result": result if finished else {}, "value": number, "exit_status": 0}


def _run_task(place: Path, job: dict[str, Any]) -> Any:
    """Run the job's task under Hydra with the stored config, and return what it returns."""
    open_streams()
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    resolvers.register()
    return run_stored(job["task"], _config(place, job), "hydra.sweep.dir", "hydra.sweep.subdir")


def _config(place: Path, job: dict[str, Any]) -> DictConfig:
    """Return the stored config with Hydra's node; the job goes on where it has a checkpoint."""
    config = OmegaConf.create({**job["config"], "resume": "auto"})
    with open_dict(config):
        config.hydra = OmegaConf.merge(OmegaConf.structured(HydraConf), job["hydra"])
        config.hydra.sweep.dir, config.hydra.sweep.subdir = str(place.parent), place.name
        config.hydra.job.id, config.hydra.job.num = place.name, job["number"]
        if any(place.glob("checkpoints/*.pt")):
            config.hydra.output_subdir = None  # Hydra would write its own files anew, and not as a whole
    OmegaConf.set_struct(config, True)
    assert isinstance(config, DictConfig)
    return config


def _result(place: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((place / RESULT_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None))
