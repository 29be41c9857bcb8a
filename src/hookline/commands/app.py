"""From a command line to an exit status: every user error becomes one message and status 2, a bug keeps its trace."""

from __future__ import annotations

import errno
import functools
import gc
import logging
import math
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from importlib import import_module
from io import IOBase, StringIO
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hookline.commands.arguments import check_flags, prepared
from hookline.commands.compare import with_shared_keys
from hookline.commands.help import FLAGS, help_text
from hookline.commands.launchers import check_alone, speaks
from hookline.commands.of_run import with_overrides_of_run
from hookline.commands.peers import FAILED, USER_ERROR, PeerLost, join, peers
from hookline.commands.resume import with_stored_overrides
from hookline.commands.spawn import TOGETHER, processes_of, start
from hookline.commands.together import shared_arguments
from hookline.config import local, paths, resolvers
from hookline.config.errors import (
    ConfigError,
    ParameterError,
    did_you_mean,
    did_you_mean_key,
    first_line,
    reason_of,
    told_of,
)
from hookline.config.groups import group_names
from hookline.config.structure import check_structure
from hookline.job import Job
from hookline.loggers.streams import CLEAR_LINE, open_streams, say, silence

USER_ERRORS = (ConfigError, ParameterError, HydraException, OmegaConfBaseException)
INTERRUPTED = 130
TERMINATED = 143
BROKEN_PIPE = 141

# What the operating system says of a place that cannot be written to: full, read-only, forbidden, or no such thing.
PLACES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
NO_PLACES = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)

# How a message begins that finds fault with what a node describes as a whole.
REFUSED = re.compile(r"([\w.]+): ([\w.]+ )?(refused|cannot) ")

log = logging.getLogger(__name__)

Task = Callable[[DictConfig], Any]


class Terminated(KeyboardInterrupt):
    """The command got SIGTERM, which ends it as Ctrl-C does."""


@dataclass
class Outcome:
    """What has become of a command.

    Attributes:
        started: whether Hydra has composed a config; what fails before is about what the user wrote.
        status: the exit status that a sweep's failed jobs ask for.
    """

    started: bool = False
    status: int = 0


def run_app(task: str | Task, config_name: str, about: str | None = None) -> None:
    """Run a task under Hydra with `conf/<config_name>.yaml` and the process's arguments, then exit.

    The exit status is 0, 2 for a user's error, 130 after Ctrl-C, 143 after SIGTERM, 141 where nobody reads the output
    (as with `--help | head`), or 1 for anything else. A sweep runs all its jobs, and tells of each that fails.

    Args:
        task: a function of the composed config, or `module:function`: what it needs is imported only once the config
            is there, so that help and wrong overrides do not wait for it.
        config_name: the root config.
        about: what the command does, with examples, for `--help`; None leaves the help to Hydra.
    """
    open_streams()
    main_thread = threading.current_thread() is threading.main_thread()  # others can set no handlers
    on_term = signal.signal(signal.SIGTERM, _terminate) if main_thread else None
    # A message that cannot be shown, and what a library only advises against, are no part of what a user reads.
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    resolvers.register()
    # Hydra would print its own message and exit with 1; with this set it raises, and the wording is ours.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # What torch's profiler says of itself is not for the screen; it reads this when torch is imported.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    # Torch sets this only once it is imported; where Ctrl-C comes before, it would show what its caches did.
    logging.getLogger("torch").setLevel(logging.WARNING)
    outcome = Outcome()
    main = hydra.main(config_path=str(paths.conf()), config_name=config_name, version_base="1.3")(
        _logged(task, outcome)
    )
    mine = None
    try:
        if _name_of(task) in TOGETHER:
            mine = join(os.environ)
        elif not any(argument in FLAGS for argument in sys.argv[1:]):
            check_alone(os.environ, sys.argv[1:])
        if about is not None and any(argument in FLAGS for argument in sys.argv[1:]):
            print(help_text(about, config_name, local.config_folders(sys.argv[1:])), end="")
        else:
            arguments = with_overrides_of_run(prepared(sys.argv[1:]), config_name)
            arguments = with_shared_keys(with_stored_overrides(arguments))
            sys.argv[1:] = arguments if mine is None else shared_arguments(mine, arguments)
            _run(main)
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)  # or the flush at exit fails, too
        sys.exit(BROKEN_PIPE)
    except KeyboardInterrupt as error:
        # Of several processes one may be ended since another cannot go on.
        if mine is not None and (loss := mine.cause_of(error)) is not None:
            _leave(PeerLost(loss))
        terminated = isinstance(error, Terminated)
        say("interrupted (SIGTERM)" if terminated else "interrupted")
        sys.exit(TERMINATED if terminated else INTERRUPTED)
    except PeerLost as error:
        _leave(error)
    except Exception as error:
        if outcome.started and not is_users(error):
            raise
        reason = explain(error)
        if mine is not None:
            mine.fail(reason, USER_ERROR)
        if mine is not None or speaks(os.environ):
            say(f"error: {reason}")
        sys.exit(USER_ERROR)
    finally:
        if main_thread:
            signal.signal(signal.SIGTERM, on_term)
        if mine is not None:
            mine.leave()
    if outcome.status:
        sys.exit(outcome.status)


def _leave(error: PeerLost) -> NoReturn:
    """Exit since another process cannot go on, and tell of it if this one speaks for all."""
    mine = peers()
    assert mine is not None
    if mine.speaks():
        mine.speak(f"error: {mine.told(error.loss)}")
    sys.exit(error.loss.status)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _run(main: Callable[[], Any]) -> None:
    """Call Hydra; where it shows a part of the config that is not there, raise `ConfigError` for its own words."""
    flags = check_flags(sys.argv[1:])
    if flags.cfg is None or flags.package is None:
        main()
        return
    with redirect_stderr(StringIO()) as told:
        try:
            main()
        except SystemExit as error:
            raise ConfigError(f"--package={flags.package}: {reason_of(ValueError(told.getvalue()))}") from error


def note_end(directory: Path, error: BaseException) -> None:
    """Write into the run directory how a run has ended, where it has not come so far as to do so itself."""
    job, mine = Job(directory), peers()
    if isinstance(error, SystemExit) or (mine is not None and mine.rank != 0) or job.read_status():
        return
    with suppress(OSError):
        if isinstance(error, KeyboardInterrupt):
            job.write_status("interrupted", reason="SIGTERM" if isinstance(error, Terminated) else "SIGINT")
        else:
            job.write_status("failed", reason=explain(error, overrides()) if is_users(error) else told_of(error))


def is_users(error: BaseException) -> bool:
    """Say whether an error is the user's to mend: a wrong value, or a place that cannot be written to."""
    return isinstance(error, USER_ERRORS) or (isinstance(error, OSError) and error.errno in (*PLACES, *NO_PLACES))


def overrides() -> list[str]:
    """Return this job's overrides as they were written; read one by one, interpolations in them would be resolved."""
    return OmegaConf.to_container(HydraConfig.get().overrides.task)  # type: ignore[return-value]


def chosen_option(group: str) -> dict[str, Any] | None:
    """Return the option of a config group that this job chose, as its file has it; None where it has no file or job."""
    if not HydraConfig.initialized():
        return None
    file = f"{group}/{HydraConfig.get().runtime.choices.get(group)}.yaml"
    path = next((folder / file for folder in local.config_folders(sys.argv[1:]) if (folder / file).is_file()), None)
    if path is None:
        return None
    return OmegaConf.to_container(OmegaConf.load(path))  # type: ignore[return-value]


def explain(error: BaseException, given: Sequence[str] = ()) -> str:
    """Return the one line that tells a user's error.

    Args:
        error: what was raised.
        given: the job's overrides; where a whole node was refused and one of them alone is below it, that is named.
    """
    text = first_line(_told(error))
    if match := REFUSED.match(text):
        below = [override.lstrip("+") for override in given if override.lstrip("+~").startswith(f"{match[1]}.")]
        if len(below) == 1 and not below[0].startswith(f"{match[1]}._target_"):
            return f"{below[0]}{text.removeprefix(match[1])}"
    return text


def _told(error: BaseException) -> str:
    if isinstance(error, ConfigError | ParameterError):
        return str(error)
    causes = list(_causes(error))
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        known = sorted(error.options or [])
        if group and known:
            return (
                f"{group}={option}: there is no such option.{did_you_mean(option, known)} It can be: {', '.join(known)}"
            )
    if isinstance(error, OverrideParseException):
        return f"{error.override}: is not of the form KEY=VALUE (nor +KEY=VALUE, ~KEY; {error.message.splitlines()[0]})"
    for cause in causes:
        if isinstance(cause, OmegaConfBaseException) and cause.parent_node is not None and cause.key is not None:
            if re.search(r"not in struct|Missing key|is not in", str(cause)):
                return _no_such_key(str(cause.full_key or cause.key), cause.parent_node)
            break
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno is not None:
            if path := str(cause.filename or _written(cause)):
                return f"{_given(path)}{path}: {cause.strerror or reason_of(cause)}"
            return f"{'standard output: ' * _output_fails()}{reason_of(cause)}"
        if isinstance(cause, yaml.MarkedYAMLError) and cause.problem_mark and Path(cause.problem_mark.name).is_file():
            return f"{cause.problem_mark.name}: {reason_of(cause)}"
        if isinstance(cause, yaml.YAMLError | UnicodeError) or "Invalid loaded object" in str(cause):
            return broken_file() or reason_of(cause)
        if isinstance(cause, RecursionError):
            return f"{' '.join(sys.argv[1:])}: the defaults lists of its config files name each other in a circle"
    text = str(error).strip()
    if match := re.match(r"Error merging override (.*)", text):
        reason = first_line(str(causes[min(1, len(causes) - 1)]))
        merged = reason.startswith("Cannot merge DictConfig with")  # what OmegaConf calls its own classes
        return f"{_unquoted(match[1])}: {'must be a mapping' if merged else reason}"
    if match := re.search(r"node `(\w+)` is not a container", text):
        return f"{_argument_of(match[1])}: must be a mapping"
    if match := re.match(r"While dereferencing interpolation '\$\{([\w.]+)\}'.*\n *full_key: hydra\..*dir\b", text):
        return f"{_argument_of(match[1])}: must be the path of a folder"
    points = next((argument for argument in sys.argv if argument.startswith("sweep=")), "")
    if points and (match := re.fullmatch(r"Interpolation key '(.*)' not found", text)):
        return f"{points}: ${{{match[1]}}}: there is no such key"
    if match := re.match(r"Could not override '([^']+)'", text):
        word = match[1].partition("@")[0]
        groups = group_names(local.config_folders(sys.argv[1:]))
        return f"{word}: there is no such key or config group.{did_you_mean(word, groups)} Groups: {', '.join(groups)}"
    if match := re.match(r"Could not append to config. An item is already at '([^']+)'", text):
        return f"+{_argument_of(match[1])}: there is such a key already; leave out the +"
    if match := re.match(r"Could not delete from config. '([^']+)' does not exist", text):
        return f"~{match[1]}: cannot be removed: there is no such key, or it is null already"
    return reason_of(error)


def _no_such_key(key: str, parent: Any) -> str:
    """Return what to say of a key that its parent lacks: the parent's keys, and where else there is a key like it."""
    known, (above, _, word) = [str(name) for name in parent], key.rpartition(".")
    groups = group_names(local.config_folders(sys.argv[1:]))
    if not known:
        chosen = f"the option of {above} that is chosen" if above in groups else above
        return f"{key}: there is no such key: {chosen} has none"
    elsewhere = ""
    if parent._get_parent() is None:
        # Hydra's own key is of no use in a list of what a run has; a group that is left out by default is.
        absent = [name for name in groups if name not in known] if set(groups) & set(known) else []
        known = [name for name in known if name != "hydra"] + absent
        plain = OmegaConf.to_container(parent)
        assert isinstance(plain, dict)
        elsewhere = did_you_mean_key(word, _keys_below({name: plain[name] for name in plain if name != "hydra"}))
    near = did_you_mean(word, known) or elsewhere
    return f"{key}: there is no such key.{near} There is: {', '.join(known)}"


def _keys_below(node: Any, key: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for name, child in node.items():
            full = f"{key}.{name}" if key else str(name)
            yield full
            yield from _keys_below(child, full)


def broken_file() -> str:
    """Return which of the config files cannot be read and why, or an empty string."""
    folders = local.config_folders(sys.argv[1:])
    for path in (path for folder in reversed(folders) for path in sorted(folder.rglob("*.yaml")) if path.is_file()):
        try:
            OmegaConf.load(path)
        except Exception as error:  # whatever the reader of YAML raises
            return f"{path}: {reason_of(error)}"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _unquoted(override: str) -> str:
    """Return an override as it was written, without the quotes that Hydra's grammar needs."""
    return re.sub(r"='(.*)'$", r"=\1", override)


def _argument_of(key: str) -> str:
    """Return the argument that gives a key its value, or the key."""
    found = (argument.lstrip("+") for argument in reversed(sys.argv) if argument.lstrip("+").startswith(f"{key}="))
    return next(found, key)


def _given(path: str) -> str:
    """Return the argument that a path comes from, for the beginning of a message.

    Its value is the path, a folder around it, lies in it where that is a folder which should have been made, or is a
    part of it that has several folders.
    """
    place, here = Path(os.path.realpath(path)), Path.cwd()
    for argument in sys.argv[1:]:
        value = argument.partition("=")[2].strip("'\"")
        if not value or "\0" in value:
            continue
        named = Path(os.path.realpath(os.path.expanduser(value)))
        # Any word would lie in the current folder and those around it.
        below = named.is_relative_to(place) and (os.path.isabs(value) or not here.is_relative_to(place))
        if place.is_relative_to(named) or below or ("/" in value and f"/{value.strip('/')}" in str(place)):
            return f"{argument}: "
    return ""


def _written(error: BaseException) -> str:
    """Return the file that was being written as an error arose: of a full disk the system does not say where it is."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        for value in frame.f_locals.values():
            if isinstance(value, IOBase) and isinstance(name := getattr(value, "name", None), str) and name[0] != "<":
                return name
    return ""


def _output_fails() -> bool:
    try:
        print(flush=True)
    except OSError:
        silence(sys.stdout)  # or the flush at exit fails, too
        return True
    return False


def _name_of(task: str | Task) -> str:
    return f"{task.__module__}:{task.__qualname__}" if callable(task) else task


def _resolve(task: str | Task) -> Task:
    if callable(task):
        return task
    module, _, name = task.partition(":")
    if module not in sys.modules:
        load(module)
    found: Task = getattr(sys.modules[module], name)
    return found


def load(module: str) -> None:
    """Import what a task needs, which takes seconds, and say so on a terminal.

    The garbage collector would go through a million new objects again and again, and find nothing. It is off meanwhile,
    and what was imported is kept from it for good: it would be gone through once more as the process ends.
    """
    told = sys.stderr.isatty()
    if told:
        print("loading torch ...", end="", file=sys.stderr, flush=True)
    gc.disable()
    try:
        import_module(module)
    finally:
        gc.freeze()
        gc.enable()
        if told:
            print(CLEAR_LINE, end="", file=sys.stderr, flush=True)


def _logged(task: str | Task, outcome: Outcome) -> Task:
    """Return the task with its errors written to the job's log, and told here.

    Past this point Hydra would print lines of its own above the message, and of a sweep's jobs tell only the first.
    """

    def logged(cfg: DictConfig) -> Any:
        outcome.started = True
        hydra = HydraConfig.get()
        given = overrides()
        try:
            check_structure(cfg, str(hydra.job.config_name), given)
            count = processes_of(_name_of(task), cfg)
            return _resolve(task)(cfg) if count is None else start(_name_of(task), cfg, count)
        except BaseException as error:
            if _name_of(task) in TOGETHER and hydra.mode == RunMode.RUN:
                note_end(Path(hydra.runtime.output_dir), error)
            if (mine := peers()) is not None and isinstance(error, Exception):
                mine.fail(
                    explain(error, given) if is_users(error) else reason_of(error),
                    USER_ERROR if is_users(error) else FAILED,
                )
            log.debug("stopped by %s", type(error).__name__, exc_info=True)
            if isinstance(error, BrokenPipeError):
                silence(sys.stdout)
                sys.exit(BROKEN_PIPE)
            if not isinstance(error, Exception):
                raise
            if isinstance(error, PeerLost):
                _leave(error)
            if hydra.mode == RunMode.RUN:
                if not is_users(error):
                    raise
                say(f"error: {explain(error, given)}")
                sys.exit(USER_ERROR)
            if is_users(error):
                say(f"error in job {hydra.job.num}: {explain(error, given)}")
                outcome.status = outcome.status or USER_ERROR
            else:
                say(f"error in job {hydra.job.num}: {reason_of(error)}\n{traceback.format_exc()}")
                outcome.status = 1
            return math.nan

    # A launcher that runs jobs in processes of their own needs the task's name, and says what became of them.
    logged.outcome = outcome  # type: ignore[attr-defined]
    logged.name = _name_of(task)  # type: ignore[attr-defined]
    # Hydra reads the caller's name off the function that it is given.
    return functools.update_wrapper(logged, task) if callable(task) else logged
