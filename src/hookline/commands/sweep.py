"""A launch of this project's launcher: from the jobs' overrides to what they have reached."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hookline.config.checks import check_bool, check_number
from hookline.config.cores import allowed_cores, available_cores
from hookline.config.errors import ConfigError, ParameterError, reason_of, shown
from hookline.config.flat import changes
from hookline.config.folder_names import check_folder_name, is_launchers
from hookline.config.instantiate import told_at
from hookline.config.structure import check_structure
from hookline.sweep.code import code_state, own_modules
from hookline.sweep.jobs import read_state, read_stored, read_sweep
from hookline.sweep.key import key_of, what_matters
from hookline.sweep.launch import Launch
from hookline.sweep.pool import Pool
from hookline.sweep.show import Progress, columns, counted, estimate, relative, span
from hookline.sweep.slots import Slot, find_devices, make_slots
from hookline.sweep.slurm import COMMANDS_FILE, ArrayOptions, write_array
from hookline.sweep.store import job_name, store_job, stored_jobs

ENTRY = "hookline.commands.sweep_job:run"

# What a run imports, where nothing special is asked for; once, in the fork server. All of the project's own is among
# it, so that no edit in the middle of a launch reaches a part of the jobs.
MODULES = (
    *(module for module in own_modules() if module != "hookline.sweep.server"),
    *("timm", "torchvision", "sklearn.datasets", "sklearn.model_selection"),
    *("matplotlib.pyplot", "matplotlib.backends.backend_agg", "tensorboard.summary.writer.record_writer"),
)

# The parts of Hydra's node that a job needs.
HYDRA = ("run", "sweep", "job", "job_logging", "overrides", "runtime", "verbose", "callbacks", "output_subdir", "mode")


# The pool of this process's fork server: a sweeper launches more than once.
_pools: list[Pool] = []


def pool() -> Pool:
    """Return the pool of the fork server, started where there is none or where it was killed."""
    if not _pools or not _pools[0].alive():
        _pools[:] = [Pool(ENTRY, MODULES)]
    return _pools[0]


@dataclass(frozen=True)
class Job:
    """A job as composed.

    Attributes:
        key: the hash of what matters.
        stored: what `job.json` says, or is going to say.
        directory: where it is; None where it is not stored.
    """

    key: str
    stored: dict[str, Any]
    directory: Path | None

    @property
    def name(self) -> str:
        """What it is told by."""
        return self.directory.name if self.directory else job_name(self.stored)


class SweepLaunch:
    """Runs the jobs of a sweep, or what is left of them.

    Args:
        options: of the node `launcher`.
        context: Hydra's, which composes configs.
        task: what the command runs; `hookline.commands.app` has put its name and outcome there.
        config: the sweep's own config.

    Raises:
        ConfigError: an option cannot be what it is.
    """

    def __init__(self, options: Mapping[str, Any], context: HydraContext, task: Any, config: DictConfig) -> None:
        with told_at("launcher"):
            check_options(options)
            if (name := OmegaConf.select(config, "launcher.name")) is not None:
                check_folder_name("name", name)
        self.options, self.task, self.config = dict(options), task, config
        self._device_count = 0
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        compose = context.config_loader.load_sweep_config

        def compose_once(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
            # Sweepers compose each job to see whether that can be done; the same again is what is run. How it is run
            # is in the sweep's own config, and no part of a job's.
            own = [override for override in sweep_overrides if not is_launchers(override)]
            if (key := tuple(own)) not in self._composed:
                self._composed[key] = compose(master_config, own)
            return self._composed[key]

        self._compose = compose_once
        context.config_loader.load_sweep_config = compose_once  # type: ignore[method-assign]
        if not (self.options["dry_run"] or self.options["emit"]):
            self.pool()  # it imports while jobs are composed

    def __call__(self, overrides: Sequence[Sequence[str]]) -> list[JobReturn]:
        """Run jobs with these overrides, and return what each has reached, in the same order."""
        self.task.outcome.started = True
        place = Path(str(self.config.hydra.sweep.dir)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        jobs = self._jobs(place, overrides)
        distinct = list({job.key: job for job in jobs}.values())
        slots, threads = self._slots(distinct)
        print(f"sweep: {relative(place)}: {told_jobs(len(distinct), len(jobs) - len(distinct))}", flush=True)
        if self.options["dry_run"]:
            print(listing(distinct, len(slots)), flush=True)
            return [returned(job, given, None) for job, given in zip(jobs, overrides, strict=True)]
        stored = self._store(place, distinct, threads)
        states = {directory: read_state(directory) for directory in stored.values()}
        retry = self.options["retry_failed"]
        left = [d for d, state in states.items() if state["state"] != "done" and (retry or state["state"] != "failed")]
        monitor = monitored(distinct)
        print(f"{counted(states)}; {told_slots(slots, threads)}", flush=True)
        if self.options["emit"]:
            if left:
                print(told_array(write_array(place, left, self._array_options(threads)), len(left)), flush=True)
            return [returned(job, given, states[stored[job.key]]) for job, given in zip(jobs, overrides, strict=True)]
        with Progress(list(states), monitor, len(slots)) as watcher:
            signal = self._run(left, slots, watcher) if left else None
        states = {directory: read_state(directory) for directory in states}
        if signal is None and any(state.get("result") for state in states.values()):
            tell_report(place)
        print(f"{counted(states)} of {len(states)} jobs: {relative(place)}", flush=True)
        if signal is not None:
            sys.exit(128 + signal)
        self._set_status(states)
        return [returned(job, given, states[stored[job.key]]) for job, given in zip(jobs, overrides, strict=True)]

    def _jobs(self, place: Path, overrides: Sequence[Sequence[str]]) -> list[Job]:
        """Return the jobs with these overrides, and tell what differs from what was stored before."""
        known, now = stored_jobs(place), code_state()
        parser = OverridesParser.create()
        fixed = {_respelled(parser, override) for override in self.config.hydra.overrides.task}
        jobs = []
        for given in overrides:
            config = self._compose(self.config, list(given))
            given = [override for override in given if not is_launchers(override)]
            jobs.append(self._job(config, given, [o for o in given if o not in fixed], known, now))
        report_drift(place, jobs, known, now["code"])
        return jobs

    def _job(
        self, config: DictConfig, given: list[str], swept: list[str], known: Mapping[str, Path], now: Mapping[str, Any]
    ) -> Job:
        """Return one job; what was stored of it before is what holds."""
        plain = resolved(config, given)
        hydra = OmegaConf.to_container(config.hydra, resolve=False, enum_to_str=True)
        assert isinstance(hydra, dict)
        key = key_of(plain)
        if key in known:
            return Job(key, read_stored(known[key]), known[key])
        stored = {
            "key": key,
            "task": self.task.name,
            "overrides": given,
            "swept": swept,
            **now,
            "cwd": os.getcwd(),
            "config": plain,
            "hydra": {name: hydra[name] for name in HYDRA},
        }
        return Job(key, stored, None)

    def _store(self, place: Path, jobs: Sequence[Job], threads: int) -> dict[str, Path]:
        """Store the jobs that are new, and return the directories of all by their keys."""
        number = len(stored_jobs(place))
        found = {}
        for job in jobs:
            found[job.key] = job.directory or store_job(place, {**job.stored, "threads": threads, "number": number})
            number += job.directory is None
        return found

    def pool(self) -> Pool:
        """Return what starts the jobs' processes."""
        return pool()

    def _array_options(self, threads: int) -> ArrayOptions:
        """Return what `launcher.emit` writes into the script for Slurm."""
        return ArrayOptions(cpus_per_task=threads, at_once=self._wanted())

    def _run(self, left: Sequence[Path], slots: Sequence[Slot], watcher: Progress) -> int | None:
        """Run these jobs until all have ended, and return the signal that ended the launch, if one did."""
        limits = self.options["job_timeout"], self.options["max_failures"]
        launch = Launch(left, slots, self.pool, watcher, *limits, width=self._width_of)
        launch.run()
        return launch.signal

    def _slots(self, jobs: Sequence[Job]) -> tuple[list[Slot], int]:
        """Return where jobs run, and how many threads each has."""
        cores, devices = allowed_cores(), self._devices(jobs)
        widths = [width(job.stored["config"], len(devices)) for job in jobs] or [1]
        widest, wanted = max(widths), self._wanted()
        if devices and widest > len(devices):
            raise ConfigError(
                f"distributed.processes={widest}: there are {len(devices)} GPUs, and each process needs its own; give"
                " distributed.processes=gpu, or runner.device=cpu"
            )
        if wanted is not None and widest > wanted:
            raise ConfigError(
                f"launcher.slots={wanted}: must be >= {widest}, as a job of {widest} processes takes as many"
            )
        self._device_count = len(devices)
        slots = make_slots(wanted, devices, cores, sum(widths), widest)
        # What limits the threads of one process limits those of each job.
        return slots, max(1, min(cores // len(slots), available_cores()))

    def _width_of(self, job: Path) -> int:
        """Return how many slots a job takes."""
        return width(read_stored(job)["config"], self._device_count)

    def _wanted(self) -> int | None:
        slots = self.options["slots"]
        return None if slots == "auto" else int(slots)

    def _devices(self, jobs: Sequence[Job]) -> list[str]:
        """Return the GPUs that the jobs may use, none if all of them run on the CPU."""
        wanted = {str((job.stored["config"].get("runner") or {}).get("device")) for job in jobs}
        return [] if wanted <= {"cpu"} else find_devices()

    def _set_status(self, states: Mapping[Path, Mapping[str, Any]]) -> None:
        """Set the command's exit status: 2 if users' mistakes alone made jobs fail, 1 for any other failure or rest."""
        ended = {"done": 0, "failed": 1}
        statuses = {
            int(state.get("exit_status") or 1) if state["state"] == "failed" else ended.get(state["state"], 1)
            for state in states.values()
        } - {0}
        if statuses:
            self.task.outcome.status = 2 if statuses == {2} and self.task.outcome.status != 1 else 1


def check_options(options: Mapping[str, Any]) -> None:
    """Raise `ParameterError` where an option of the launcher cannot be what it is."""
    if options["slots"] != "auto":
        if isinstance(options["slots"], str):
            raise ParameterError("slots", options["slots"], "auto or an integer > 0")
        check_number("slots", options["slots"], gt=0, le=1024, integer=True)
    if options["job_timeout"] is not None:
        check_number("job_timeout", options["job_timeout"], gt=0)
    if options["max_failures"] is not None:
        check_number("max_failures", options["max_failures"], gt=0, integer=True)
    for name in ("retry_failed", "dry_run", "emit"):
        check_bool(name, options[name])


def resolved(config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Return what is a job's own of a composed config, interpolations resolved.

    Raises:
        ConfigError: it has a key that nobody reads, or an interpolation that has no value before the job begins.
    """
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        own = OmegaConf.masked_copy(config, [str(key) for key in config if key not in ("hydra", "launcher", "sweep")])
        check_structure(own, str(config.hydra.job.config_name), overrides)
        plain = OmegaConf.to_container(own, resolve=True, enum_to_str=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {reason_of(error)}") from error
    finally:
        HydraConfig.instance().cfg = before
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def tell_report(place: Path) -> None:
    """Write the report on the sweep into its directory, and print its heart."""
    from hookline.sweep.report import make_report, text, write_report

    try:
        report = make_report([read_sweep(place)])
        page = write_report(report, place)[0]
    except (ConfigError, ParameterError, OSError) as error:
        # What the jobs have reached stands, whatever hinders the report; scripts/report.py makes it later.
        print(f"no report: {reason_of(error) if isinstance(error, OSError) else error}", flush=True)
    else:
        print(f"\n{text(report, columns())}\n\nreport: {relative(page)}", flush=True)


def report_drift(place: Path, jobs: Sequence[Job], known: Mapping[str, Path], code: str | None) -> None:
    """Say which jobs were composed with other code, and which have overrides of a stored job with another config."""
    old = [job for job in jobs if job.directory is not None and job.stored["code"] != code]
    if old:
        count = Counter(read_state(job.directory)["state"] for job in old if job.directory)
        told = ", ".join(f"{number} {state}" for state, number in count.items())
        print(f"warning: the code has changed since these jobs were composed: {told}")
    stored = {tuple(one["overrides"]): one for one in map(read_stored, known.values())}
    for job in jobs:
        then = stored.get(tuple(job.stored["overrides"]))
        if job.directory is None and then is not None:
            changes = differences(what_matters(then["config"]), what_matters(job.stored["config"]))
            name = job.name
            print(f"warning: {name}: the config is another one than before, so this is a new job: {', '.join(changes)}")


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the keys in which two configs differ, with both values."""
    return [f"{key}: {shown(old)} -> {shown(new)}" for key, old, new in changes(then, now)]


def returned(job: Job, overrides: Sequence[str], state: Mapping[str, Any] | None) -> JobReturn:
    """Return what a sweeper gets of a job: the value that its task returned, NaN where it has none."""
    value = (state or {}).get("value")
    result = JobReturn(overrides=list(overrides), cfg=OmegaConf.create(job.stored["config"]))
    result.status, result.task_name = JobStatus.COMPLETED, job.stored["task"]
    result.return_value = math.nan if value is None else float(value)
    result.state = (state or {}).get("state")  # type: ignore[attr-defined]  # for sweepers that tell apart why
    return result


def monitored(jobs: Sequence[Job]) -> str:
    """Return the number that most jobs are compared by."""
    found = [(job.stored["config"].get("evaluation") or {}).get("monitor") or "train/loss" for job in jobs]
    return str(Counter(found).most_common(1)[0][0]) if found else "train/loss"


def listing(jobs: Sequence[Job], slots: int) -> str:
    """Return a line for each job with its state, and how long the rest may take."""
    states = {
        job.directory or Path(job.name, job.key): (read_state(job.directory) if job.directory else {"state": "new"})
        for job in jobs
    }
    lines = [
        f"{state['state']:>11}  {place.name if place.is_absolute() else place.parent}"
        for place, state in states.items()
    ]
    seconds = estimate(states, slots)
    rest = "no job has been done yet to tell how long they take" if seconds is None else f"about {span(seconds)} to go"
    return "\n".join([*lines, f"{counted(states)}; {slots} at a time; {rest}"])


def told_array(script: Path, count: int) -> str:
    """Return where the commands of jobs are, and how they are run."""
    commands = shlex.quote(relative(script.with_name(COMMANDS_FILE)))
    return (
        f"{count} command{'s' * (count != 1)} in {commands}; run them with: sbatch {shlex.quote(relative(script))}\n"
        f"or, here, two at a time: xargs -P 2 -d '\\n' -n 1 bash -c < {commands}"
    )


def told_jobs(count: int, equal: int) -> str:
    """Return how many jobs there are, and how many more are equal to one of them."""
    also = f", {equal} more {'is' if equal == 1 else 'are'} equal to one of them" if equal else ""
    return f"{count} job{'s' * (count != 1)}{also}"


def width(config: Mapping[str, Any], gpus: int) -> int:
    """Return how many processes a job has; one whose number cannot be is for the job itself to refuse.

    Args:
        config: the job's.
        gpus: how many there are.
    """
    wanted = (config.get("distributed") or {}).get("processes")
    if wanted == "gpu":
        return max(1, gpus)
    return wanted if isinstance(wanted, int) and wanted > 1 else 1


def told_slots(slots: Sequence[Slot], threads: int) -> str:
    """Return how many processes run at a time, each of which is a job or one of several that do it, and on what."""
    devices = {slot.device for slot in slots if slot.device}
    where = (
        f"on {len(devices)} GPU{'s' * (len(devices) != 1)}"
        if devices
        else f"{threads} thread{'s' * (threads != 1)} each"
    )
    return f"{len(slots)} at a time, {where}"


def _respelled(parser: OverridesParser, override: str) -> str:
    """Return an override as sweepers write it."""
    parsed = parser.parse_override(override)
    if parsed.is_sweep_override() or parsed.is_delete():
        return override
    return f"{parsed.get_key_element()}={parsed.get_value_element_as_str()}"
