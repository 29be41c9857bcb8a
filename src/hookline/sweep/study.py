"""A search: a study of Optuna whose trials are jobs of a sweep.

One process asks for points and tells what they have reached. All of it is in a journal beside the jobs, a line for each
step, so that a search that was killed at any moment goes on: a trial that had been asked for keeps its number, its
point and its job.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hookline.config.errors import ConfigError, reason_of, shown
from hookline.sweep.jobs import JOB_FILE, read_stored
from hookline.sweep.journal import JOURNAL, NAME, WHAT_TO_DO, check_journal, cut_torn_line
from hookline.sweep.lock import PATIENCE, take
from hookline.sweep.space import first_of, written

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

STUDY_LOCK = "study.lock"
JOB = "job"  # the attribute of a trial that names its job's folder
SETTINGS = "settings"  # the attribute of the study that says what the search began with


class Study:
    """Asks for points and is told their values. Whoever has it open is the only one.

    Args:
        place: the sweep's directory.
        space: what is searched, by key.
        mode: `max` or `min`: which way the monitored number is better.
        trials: how many there are to be, those that failed included.
        sampler: gives a sampler for the trial of this number. What it draws must not depend on what was drawn in this
            process, or a search that goes on would draw its first points again.
        pruner: says which trials are not worth going on with.

    Raises:
        ConfigError: another process has the study open, the journal cannot be read, or is of another search.
    """

    def __init__(
        self,
        place: Path,
        space: Mapping[str, BaseDistribution],
        mode: str,
        trials: int,
        sampler: Callable[[int], BaseSampler],
        pruner: BasePruner,
    ) -> None:
        import optuna
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", module=r"optuna\.")
        self.place, self.space, self.mode, self.trials = place, dict(space), mode, trials
        self._sampler = sampler
        place.mkdir(parents=True, exist_ok=True)
        lock = take(place / STUDY_LOCK, PATIENCE)
        if lock is None:
            raise ConfigError(f"{place}: another process runs this search; two would not know of each other's points")
        self._lock: int | None = lock
        journal = place / JOURNAL
        try:
            cut_torn_line(journal)
            check_journal(journal)
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal), lock_obj=_held_already()))
            self._study = optuna.create_study(
                storage=storage,
                study_name=NAME,
                direction="maximize" if mode == "max" else "minimize",
                sampler=sampler(0),
                pruner=pruner,
                load_if_exists=True,
            )
        except Exception as error:  # whatever reading a damaged journal raises
            self.close()
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{journal}: cannot be read: {reason_of(error)}") from error
        if self._study.direction.name.lower()[:3] != mode:
            self.close()
            raise ConfigError(f"{place}: this search is for the other direction; give a new one another launcher.name")
        try:
            self._check_space()
            self._check_jobs()
        except ConfigError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process have the study."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _check_space(self) -> None:
        """Raise `ConfigError` where a key has become what Optuna cannot mix with what it was."""
        from optuna.distributions import check_distribution_compatibility

        for trial in self.all():
            for key, then in trial.distributions.items():
                try:
                    if key in self.space:
                        check_distribution_compatibility(then, self.space[key])
                except ValueError as error:
                    raise ConfigError(
                        f"{key}: its values are others than when the search {self.place.name} began; give the new one"
                        " another launcher.name"
                    ) from error

    def _check_jobs(self) -> None:
        """Raise `ConfigError` where the journal lacks what the trials' jobs have: a line of it is missing."""
        ended = [trial for trial in self.all() if trial.state.is_finished()]
        bound = [trial for trial in ended if self.job_of(trial) is not None]
        for trial in ended:
            job = self.job_of(trial)
            if job is None and bound:
                self._refuse(trial, "its job")
            if job is None or not (job / JOB_FILE).is_file():
                continue
            keys = {override.partition("=")[0] for override in read_stored(job)["swept"]}
            if missing := [key for key in self.space if key in keys and key not in trial.params]:
                self._refuse(trial, missing[0])

    def _refuse(self, trial: FrozenTrial, what: str) -> None:
        raise ConfigError(
            f"{self.place / JOURNAL}: the line that says {what} of trial {trial.number} is missing; {WHAT_TO_DO}"
        )

    def check_settings(self, settings_at: Callable[[Sequence[str]], Mapping[str, Any]]) -> None:
        """Check that further trials are run with the settings that those before were run with.

        The journal keeps the settings that the search began with, and at which point they were looked up.

        Args:
            settings_at: gives, for the overrides of a point, all that a run is told, by dotted key.

        Raises:
            ConfigError: what is not searched is another than it was.
        """
        kept = self._study.user_attrs.get(SETTINGS)
        point = kept["point"] if kept else first_of(self.space)
        now = {key: shown(value) for key, value in settings_at(point).items()}
        if kept is None:
            self._study.set_user_attr(SETTINGS, {"point": point, "values": now})
            return
        then, searched = kept["values"], tuple(f"{key.lstrip('+')}." for key in self.space)
        for key in sorted(then.keys() | now.keys()):
            old, new = then.get(key, "absent"), now.get(key, "absent")
            if old != new and not f"{key}.".startswith(searched):
                raise ConfigError(
                    f"{key}={new}: was {old} when the search {self.place.name} began, and points can be compared only"
                    f" where that is equal; go on with {key}={old}, or give the new search another launcher.name"
                )

    def all(self) -> list[FrozenTrial]:
        """Return all trials so far, by number."""
        return self._study.get_trials(deepcopy=False)

    def running(self) -> list[Trial]:
        """Return the trials that were asked for and not told, by number; after a kill these go on."""
        import optuna

        states = (optuna.trial.TrialState.RUNNING,)
        found = self._study.get_trials(deepcopy=False, states=states)
        return [optuna.Trial(self._study, trial._trial_id) for trial in found]

    def ask(self) -> Trial | None:
        """Return a new trial, None once there are enough."""
        number = len(self.all())
        if number >= self.trials:
            return None
        self._study.sampler = self._sampler(number)
        return self._study.ask()

    def overrides(self, trial: Trial) -> list[str]:
        """Return a trial's point; what it has been given already stays, and what is missing is drawn."""
        self._study.sampler = self._sampler(trial.number)
        return [written(key, _suggested(trial, key, distribution)) for key, distribution in self.space.items()]

    def job_of(self, trial: Trial | FrozenTrial) -> Path | None:
        """Return the job's directory that a trial is bound to, None for none."""
        name = trial.user_attrs.get(JOB)
        return self.place / name if name else None

    def bind(self, trial: Trial, job: Path) -> None:
        """Bind a trial to a job; from here on that is what it goes on with, whatever becomes of the config."""
        if self.job_of(trial) != job:
            trial.set_user_attr(JOB, job.name)

    def report(self, trial: Trial, values: Mapping[int, float]) -> bool:
        """Take a trial's monitored number after each epoch, and say whether the pruner has given it up.

        Args:
            trial: which.
            values: by epoch; those that are known already change nothing.
        """
        known = self.all()[trial.number].intermediate_values
        new = {epoch: value for epoch, value in sorted(values.items()) if epoch not in known}
        pruned = False
        for epoch, value in new.items():
            trial.report(value, epoch)
            pruned = pruned or bool(trial.should_prune())
        return pruned

    def tell(self, trial: Trial, value: float | None, *, pruned: bool = False) -> None:
        """Take what a trial has reached.

        Args:
            trial: which.
            value: the monitored number; None where it failed.
            pruned: whether it was ended by the pruner's word.
        """
        from optuna.trial import TrialState

        if pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        elif value is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, value)

    @property
    def best(self) -> FrozenTrial | None:
        """The trial with the best value, None where none has a finite one: of a run that diverged it is infinite."""
        values = {
            trial.number: trial.value
            for trial in self.all()
            if trial.state.name == "COMPLETE" and trial.value is not None and math.isfinite(trial.value)
        }
        if not values:
            return None
        number = (max if self.mode == "max" else min)(values, key=lambda number: values[number])
        return self.all()[number]


def _suggested(trial: Trial, key: str, distribution: BaseDistribution) -> Any:
    """Return a trial's value of a key: the one that it has, or a new one."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(key, distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    suggest = trial.suggest_float if isinstance(distribution, FloatDistribution) else trial.suggest_int
    return suggest(key, distribution.low, distribution.high, step=distribution.step, log=distribution.log)  # type: ignore[arg-type]


def _held_already() -> Any:
    """Return a lock for Optuna's journal that is no further one: the study's own is held as long as it is open."""
    from optuna.storages.journal._file import BaseJournalFileLock

    class Held(BaseJournalFileLock):
        def acquire(self) -> bool:
            return True

        def release(self) -> None:
            pass

    return Held()
