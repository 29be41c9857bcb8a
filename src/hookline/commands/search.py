"""A search for the best point: a sweep whose jobs are asked for one after the other, by what those before reached."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hookline.commands.sweep import Job, SweepLaunch, resolved, tell_report, told_slots
from hookline.config import local
from hookline.config.checks import check_number
from hookline.config.direction import mode_of
from hookline.config.errors import ConfigError
from hookline.config.files import replacing
from hookline.config.flat import flat
from hookline.config.folder_names import is_launchers
from hookline.config.groups import group_names
from hookline.config.instantiate import build, told_at
from hookline.config.packages import need
from hookline.job import STOP_FILE, ended_by_stop_file
from hookline.sweep.jobs import JOB_FILE, read_state, read_stored
from hookline.sweep.key import what_matters
from hookline.sweep.launch import Launch
from hookline.sweep.recipe import recipe_name, recipe_of
from hookline.sweep.show import METRICS_FILE, Progress, relative
from hookline.sweep.space import first_of, space_of, written

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

    from hookline.sweep.study import Study


# What ends a trial that the pruner has given up.
STOPS = "+hooks.stop_file._target_=hookline.hooks.stop_file.StopFileHook"


class Search:
    """One command's part of a search: from its overrides to the best point.

    Args:
        options: of the node `hydra.sweeper`.
        context: Hydra's, which composes configs.
        config: the sweep's own config.
        arguments: the overrides of the command line, those with several values included.

    Raises:
        ConfigError: the search is described wrongly, or Optuna is not there.
    """

    def __init__(
        self, options: Mapping[str, Any], context: HydraContext, config: DictConfig, arguments: Sequence[str]
    ) -> None:
        need("hydra/sweeper=optuna", "search", "optuna")
        import optuna

        with told_at("hydra.sweeper"):
            check_number("n_trials", options["n_trials"], gt=0, integer=True)
            check_number("seed", options["seed"], ge=0, lt=2**32, integer=True)
            if options["batch"] is not None:
                check_number("batch", options["batch"], gt=0, integer=True)
        self.options, self.config = dict(options), config
        self.place = Path(str(config.hydra.sweep.dir)).resolve()
        parser = OverridesParser.create(config_loader=context.config_loader)
        texts = [f"{key}={value}" for key, value in (options["params"] or {}).items()]
        given = [one for one in parser.parse_overrides([*texts, *arguments]) if one.key_or_group != "sweep"]
        space, self.fixed = space_of(given)
        if not space:
            raise ConfigError(
                "hydra/sweeper=optuna: there is nothing to search; give a key several values, such as"
                " 'optimizer.lr=tag(log, interval(0.01, 1))', or choose a file of them by sweep=NAME"
            )
        for key in space:
            if key.lstrip("+").partition(".")[0] in ("evaluation", "launcher", "hydra"):
                raise ConfigError(f"{key}: cannot be searched: it is part of what points are compared by")
        node = options["pruner"]
        self.pruner = build(node, "hydra.sweeper.pruner", kind=optuna.pruners.BasePruner)
        if not isinstance(self.pruner, optuna.pruners.NopPruner):
            self.fixed.append(STOPS)
        self.space = space
        self._share()
        evaluation = config.get("evaluation") or {}
        self.monitor = str(evaluation.get("monitor") or "train/loss")
        with told_at("evaluation"):
            self.mode = mode_of(self.monitor, evaluation.get("mode"))
        self._compose = context.config_loader.load_sweep_config
        # What cannot be composed is told before anything is run.
        self._compose(self.config, [*self.fixed, *first_of(space)])

    def _share(self) -> None:
        """Tell the launcher what all jobs have in common, and jobs nothing of what describes the search."""
        with read_write(self.config), open_dict(self.config):
            overrides = self.config.hydra.overrides
            overrides.hydra = [o for o in overrides.hydra if not o.lstrip("+~").startswith("hydra.sweeper.")]
            overrides.task = [*self.fixed, *(o for o in overrides.task if is_launchers(o))]

    def sampler(self, number: int) -> Any:
        """Return the sampler for a trial.

        Its seed is made of the search's and the trial's number. With one seed for all, a search that goes on would
        begin to draw from the start, and so repeat its first points.
        """
        from optuna.samplers import BaseSampler

        node: Any = OmegaConf.to_container(OmegaConf.create(dict(self.options["sampler"])), resolve=True)
        if "seed" in node and node["seed"] is None:
            node["seed"] = int(np.random.SeedSequence((self.options["seed"], number)).generate_state(1)[0])
        return build(node, "hydra.sweeper.sampler", kind=BaseSampler)

    @contextmanager
    def open(self) -> Iterator[Study]:
        """Open the study, alone; at the end tell the best point and write it as a recipe."""
        from hookline.sweep.study import Study

        with Study(self.place, self.space, self.mode, self.options["n_trials"], self.sampler, self.pruner) as study:
            study.check_settings(self._settings_at)
            yield study
            self.tell_best(study)

    def _settings_at(self, point: Sequence[str]) -> dict[str, Any]:
        overrides = [*self.fixed, *point]
        config = self._compose(self.config, overrides)
        return dict(flat(what_matters(resolved(config, overrides))))

    def tell_best(self, study: Study) -> None:
        """Print what has been found, and write the best point as an option of the group `experiment`."""
        self.tell_trials(study.all())
        if (best := study.best) is None:
            print("no trial has come to its end with a number yet, so there is no best point and no recipe", flush=True)
            return
        point = " ".join(written(key, value) for key, value in best.params.items())
        print(f"best: {self.monitor} {best.value:.6g}, trial {best.number}: {point}")
        path = self.write_recipe(study, best)
        print(f"as a recipe in {relative(path)}: python src/train.py experiment={path.stem}", flush=True)

    def tell_trials(self, trials: Sequence[FrozenTrial]) -> None:
        """Print how many trials there are in each state."""
        states = [trial.state.name for trial in trials]
        told = ", ".join(f"{states.count(name)} {word}" for name, word in OUTCOMES.items() if name in states)
        left = max(0, self.options["n_trials"] - len(states))
        print(f"trials: {told or 'none'}; {left} left to ask for", flush=True)

    def write_recipe(self, study: Study, best: FrozenTrial) -> Path:
        """Write the best point into `local/conf/experiment`, where the next command finds it."""
        path = Path.cwd() / "local" / "conf" / "experiment" / f"{recipe_name(self.place.name)}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        comment = (
            f"The best point of {relative(self.place)}: {self.monitor} {best.value:.6g}, trial {best.number}.\n"
            "The search writes this file anew whenever it ends."
        )
        text = recipe_of(
            self._overrides_of(study, best), group_names(local.config_folders(sys.argv[1:])), [STOPS], comment
        )
        with replacing(path) as beside:
            beside.write_text(text)
        return path

    def _overrides_of(self, study: Study, trial: FrozenTrial) -> list[str]:
        """Return what a trial was run with: by its job's own word, which holds whatever is searched now."""
        job = study.job_of(trial)
        if job is not None and (job / JOB_FILE).is_file():
            return list(read_stored(job)["overrides"])
        fixed = [override for override in self.fixed if override.partition("=")[0] not in trial.params]
        return [*fixed, *(written(key, value) for key, value in trial.params.items())]


OUTCOMES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "to go on with"}


def read_trials(place: Path) -> list[FrozenTrial]:
    """Return the trials of the search in a directory, none where there is no search; nothing is written."""
    from hookline.sweep.journal import JOURNAL, read_journal

    return read_journal(place / JOURNAL) if (place / JOURNAL).is_file() else []


class SearchLaunch(SweepLaunch):
    """Runs searches, too: a free slot gets a new point at once."""

    def search(self, search: Search) -> None:
        """Run a search to its end, or on from where it was."""
        self.task.outcome.started = True
        if self.options["emit"]:
            raise ConfigError("launcher.emit=true: a search has no list of jobs; each point follows from those before")
        alike = Job("", {"config": {key: self.config.get(key) for key in ("runner", "distributed")}}, None)
        count = search.options["n_trials"]
        slots, threads = self._slots([alike] * count)
        print(f"search: {relative(search.place)}: {count} trials, {told_slots(slots, threads)}", flush=True)
        if self.options["dry_run"]:
            search.tell_trials(read_trials(search.place))
            return
        with search.open() as study:
            jobs = Trials(study, search, lambda given: self._stored(search.place, given, threads))
            left = jobs.go_on()
            watcher = Shown(jobs, left, search.monitor, len(slots))
            jobs.tell_waiting = watcher.ended
            with watcher:
                limits = self.options["job_timeout"], self.options["max_failures"]
                launch = Launch(left, slots, self.pool, watcher, *limits, more=watcher.more, width=self._width_of)
                launch.run()
        if launch.signal is not None:
            sys.exit(128 + launch.signal)
        tell_report(search.place)
        self._set_status({job: read_state(job) for job in jobs.seen})

    def _stored(self, place: Path, overrides: Sequence[str], threads: int) -> Path:
        """Return the directory of the job with these overrides, stored if it is new."""
        (job,) = self._jobs(place, [overrides])
        return self._store(place, [job], threads)[job.key]


class Trials:
    """Trials as jobs.

    Args:
        study: the study.
        search: what is searched.
        stored: gives the directory of the job with these overrides.

    Attributes:
        seen: the jobs of this launch.
        tell_waiting: is told of a job that needs no process: directory, state, reason.
    """

    def __init__(self, study: Study, search: Search, stored: Callable[[Sequence[str]], Path]) -> None:
        self.study, self.search, self._stored = study, search, stored
        self.seen: dict[Path, None] = {}
        self.tell_waiting: Callable[[Path, str, str | None], None] = lambda job, state, reason: None
        self._open: dict[Path, list[Trial]] = {}
        self._read: dict[Path, int] = {}

    def go_on(self) -> list[Path]:
        """Return the jobs of the trials that were asked for and not told; those that have ended since are told."""
        found = [self._job_of(trial) for trial in self.study.running()]
        for job in dict.fromkeys(found):
            self.settle(job)
        return list(self._open)

    def more(self) -> Path | None:
        """Return the job of a new trial, None once there are enough.

        A point that is tried already, or was, needs no job of its own: the trial gets what that reaches.
        """
        while (trial := self.study.ask()) is not None:
            job = self._job_of(trial)
            if len(self._open[job]) > 1:
                continue
            state = read_state(job)
            if state["state"] not in ("done", "failed"):
                return job
            self.tell_waiting(job, state["state"], state.get("reason"))
        return None

    def _job_of(self, trial: Trial) -> Path:
        """Return the job of a trial: the one that it is bound to, or that of its point."""
        job = self.study.job_of(trial)
        if job is None or not (job / JOB_FILE).is_file():
            job = self._stored([*self.search.fixed, *self.study.overrides(trial)])
            self.study.bind(trial, job)
        self._open.setdefault(job, []).append(trial)
        self.seen[job] = None
        return job

    def settle(self, job: Path) -> None:
        """Tell the study what a job has reached, if it has ended; one that was interrupted goes on another time."""
        state = read_state(job)
        if job not in self._open or state["state"] not in ("done", "failed"):
            return
        value, pruned = outcome_of(job, state)
        for trial in self._open.pop(job):
            self.study.report(trial, rows_of(job, self.search.monitor))
            self.study.tell(trial, value, pruned=pruned)

    def look(self, job: Path) -> None:
        """Tell the study of a running job's last epochs, and the job if it is not worth going on with."""
        file = job / METRICS_FILE
        changed = file.stat().st_mtime_ns if file.is_file() else 0
        if job not in self._open or self._read.get(job) == changed:
            return
        self._read[job] = changed
        rows = rows_of(job, self.search.monitor)
        # Not a list: each of the trials that share the job has to be told.
        pruned = [self.study.report(trial, rows) for trial in self._open[job]]
        if all(pruned) and rows:
            with replacing(job / STOP_FILE) as beside:
                beside.write_text(f"pruned after epoch {max(rows)}\n")


class Shown(Progress):
    """Shows the jobs of a search, and lets the study know of what happens to them."""

    def __init__(self, trials: Trials, jobs: Sequence[Path], monitor: str, slots: int) -> None:
        super().__init__(jobs, monitor, slots)
        self._trials = trials

    def more(self) -> Path | None:
        """Return the job of a new trial, known here before it begins."""
        if (job := self._trials.more()) is not None:
            self.states[job] = read_state(job)
        return job

    def ended(self, job: Path, state: str, reason: str | None) -> None:
        super().ended(job, state, reason)
        self._trials.settle(job)

    def look(self, running: Sequence[Path], elsewhere: Sequence[Path], waiting: int) -> None:
        super().look(running, elsewhere, waiting)
        for job in (*running, *elsewhere):
            self._trials.look(job)


def outcome_of(job: Path, state: Mapping[str, Any]) -> tuple[float | None, bool]:
    """Return the value of a job that has ended, None for none, and whether the pruner ended it."""
    result = state.get("result") or {}
    value = float(state["value"]) if state["state"] == "done" and state.get("value") is not None else math.nan
    return (None if math.isnan(value) else value), ended_by_stop_file(job, result)


def rows_of(job: Path, monitor: str) -> dict[int, float]:
    """Return a job's monitored number by epoch, where it is a finite one."""
    try:
        with (job / METRICS_FILE).open(newline="") as file:
            pairs = [
                (int(float(row["epoch"])), float(row[monitor])) for row in csv.DictReader(file) if row.get(monitor)
            ]
    except (OSError, KeyError, ValueError, csv.Error):
        return {}
    return {epoch: value for epoch, value in pairs if math.isfinite(value)}


def search_in_batches(search: Search, launcher: Callable[[Sequence[Sequence[str]], int], Sequence[JobReturn]]) -> None:
    """Run a search with a launcher that takes some jobs and returns once all have ended.

    A trial of a batch that was killed is run again with its point.
    """
    size, begun = search.options["batch"] or 1, 0
    with search.open() as study:
        waiting = study.running()
        while True:
            batch = waiting[:size]
            waiting = waiting[size:]
            while len(batch) < size and (trial := study.ask()) is not None:
                batch.append(trial)
            if not batch:
                return
            points = [[*search.fixed, *study.overrides(trial)] for trial in batch]
            for trial, done in zip(batch, launcher(points, begun), strict=True):
                if getattr(done, "state", None) in ("interrupted", "waiting"):
                    continue
                value = done.return_value
                finite = isinstance(value, int | float) and not math.isnan(value)
                study.tell(trial, float(value) if finite else None)
            begun += len(batch)
            if len(study.running()) > len(waiting):  # what was interrupted, as by a limit of time
                print("some trials were interrupted; the same command goes on with them", flush=True)
                return
