"""From a command line to an exit status: every user error becomes one message and status 2, a bug keeps its trace."""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from hookline.config import resolvers
from hookline.config.errors import ConfigError, ParameterError, did_you_mean

CONF = Path(__file__).parents[3] / "conf"
USER_ERRORS = (ConfigError, ParameterError, HydraException, OmegaConfBaseException)
USER_ERROR = 2
INTERRUPTED = 130
BROKEN_PIPE = 141

log = logging.getLogger(__name__)


def run_app(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Run `task` under Hydra with `conf/<config_name>.yaml` and the process's arguments, then exit.

    The exit status is 0, 2 for a user's error, 130 after Ctrl-C, 141 where nobody reads the output (as with
    `--help | head`), or 1 for anything else.
    """
    resolvers.register()
    # Hydra would print its own message and exit with 1; with this set it raises, and the wording is ours.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    main = hydra.main(config_path=str(CONF), config_name=config_name, version_base="1.3")(_logged(task))
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit fails, too
        sys.exit(BROKEN_PIPE)
    except KeyboardInterrupt:
        sys.exit(_say("interrupted", INTERRUPTED))
    except USER_ERRORS as error:
        sys.exit(_say(f"error: {explain(error)}", USER_ERROR))


def explain(error: BaseException) -> str:
    """Return the one message that tells a user's error."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        known = sorted(error.options or [])
        if group and known:
            return (
                f"{group}={option}: there is no such option.{did_you_mean(option, known)} It can be: {', '.join(known)}"
            )
    if isinstance(error, OverrideParseException):
        return f"{error.override}: is not of the form KEY=VALUE (nor +KEY=VALUE, ~KEY; {error.message.splitlines()[0]})"
    text = str(error).strip()
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OmegaConfBaseException) and cause.parent_node is not None and cause.key is not None:
            if re.search(r"not in struct|Missing key|is not in", str(cause)):
                full, known = str(cause.full_key or cause.key), [str(k) for k in cause.parent_node]
                return (
                    f"{full}: there is no such key.{did_you_mean(str(cause.key), known)} There is: {', '.join(known)}"
                )
            break
        cause = cause.__cause__
    if match := re.match(r"Could not override '([^']+)'", text):
        word = match[1].partition("@")[0]
        groups = sorted(p.name for p in CONF.iterdir() if p.is_dir())
        return f"{word}: there is no such key or config group.{did_you_mean(word, groups)} Groups: {', '.join(groups)}"
    return " ".join(text.split("\n")[:2])


def _say(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


def _logged(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Return the task with its errors written to the job's log, and a single run's user errors told here.

    Past this point Hydra would print a line of its own above the message. In a sweep the error goes on to Hydra, which
    runs the other jobs first.
    """

    @functools.wraps(task)
    def logged(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except BaseException as error:
            log.debug("stopped by %s", type(error).__name__, exc_info=True)
            if isinstance(error, USER_ERRORS):
                if HydraConfig.get().mode == RunMode.RUN:
                    sys.exit(_say(f"error: {explain(error)}", USER_ERROR))
                _say(f"error in job {HydraConfig.get().job.num}: {explain(error)}", USER_ERROR)
            raise

    return logged
