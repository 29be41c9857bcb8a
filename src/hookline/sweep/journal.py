"""The journal of a search: whether what is in it hangs together."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hookline.config.errors import ConfigError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

JOURNAL = "study.journal"
NAME = "search"  # of the study

WHAT_TO_DO = "put back a copy of the file, or give the search another launcher.name"


def cut_torn_line(journal: Path) -> None:
    """Cut off what a process that was killed has left of a line: with it the journal could not be opened."""
    if not journal.is_file():
        return
    with journal.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def check_journal(journal: Path) -> None:
    """Check that no line of a journal is damaged or missing.

    Optuna skips lines that refer to what is not there, and so would forget trials in silence. Each line is a step: the
    first one makes the study, and all others are about it or about a trial that a line before has made. A torn last
    line is none of them.

    Raises:
        ConfigError: a line is none of a journal's, or one before it is missing.
    """
    from optuna.storages.journal._storage import JournalOperation as Step

    if not journal.is_file():
        return
    studies = trials = 0
    for number, text in enumerate(journal.read_bytes().split(b"\n")[:-1], start=1):
        line = _mapping(text)
        step, trial = line.get("op_code"), line.get("trial_id", -1)
        if step not in list(Step) or not isinstance(trial, int) or "worker_id" not in line:
            raise ConfigError(f"{journal}: cannot be read: line {number} is damaged; {WHAT_TO_DO}")
        if (studies == 0 and step != Step.CREATE_STUDY) or trial >= trials:
            raise ConfigError(f"{journal}: cannot be read: before line {number} a line is missing; {WHAT_TO_DO}")
        studies += step == Step.CREATE_STUDY
        trials += step == Step.CREATE_TRIAL


def read_journal(journal: Path) -> list[FrozenTrial]:
    """Return the trials that a journal tells of, and write nothing."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    check_journal(journal)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module=r"optuna\.")
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    return optuna.load_study(study_name=NAME, storage=storage).get_trials(deepcopy=False)


def _mapping(text: bytes) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}
