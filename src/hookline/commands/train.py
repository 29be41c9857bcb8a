"""The main job: from a composed config to a trained model and its run directory."""

from __future__ import annotations

import logging
import math
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from hookline.analysis.lr_warnings import lr_warnings
from hookline.commands.app import chosen_option, explain, is_users, overrides
from hookline.commands.peers import FAILED, USER_ERROR, Loss, PeerLost, Peers, peers
from hookline.commands.resume import check_changes, check_classes, cut_back, load_state, store_overrides
from hookline.commands.signals import ending, exit_status
from hookline.commands.together import process_group
from hookline.config.cores import available_cores
from hookline.config.errors import ConfigError, reason_of, told_of
from hookline.config.files import replacing
from hookline.config.flat import flat
from hookline.data.sample_loader import SampleLoader
from hookline.engine import Runner
from hookline.engine.device import device_name
from hookline.engine.monitor import worst
from hookline.engine.run_state import StateError
from hookline.engine.runner import Failure, Interrupted
from hookline.experiment import build_runner, lr_factor
from hookline.hooks.log import how_far
from hookline.job import Job
from hookline.loggers.console import shown
from hookline.optim.build import lr_note
from hookline.optim.group_values import base_values
from hookline.optim.groups_table import groups_table
from hookline.origin import this_process, write_origin

log = logging.getLogger(__name__)

# Percent of the training time in which the loop waits for data that are worth a change.
MUCH_WAITING = 10


def train(cfg: DictConfig) -> float:
    """Train as `cfg` says, leave everything in Hydra's run directory, and return the best monitored number.

    However the run ends, `result.json` and `status.json` in the run directory say how. A run that diverged returns the
    worst score, so that a search goes on. Of several processes, the first one writes and speaks.
    """
    started = time.perf_counter()
    hydra = HydraConfig.get()
    directory = Path(hydra.runtime.output_dir)
    given = [o for o in overrides() if not o.startswith(("resume=", "resume_force=", "trust="))]
    state = load_state(cfg, directory)
    if state:
        keep_chosen(cfg, state)
    changes = check_changes(cfg, state["config"], force=bool(cfg.resume_force)) if state else []
    job = Job(directory, overrides=given, origin=this_process())
    status = job.read_status()
    mine = peers()
    first = mine is None or mine.rank == 0
    if first:
        if cfg.resume == "auto" and state is None:  # what a try without a checkpoint has left is of no run
            cut_back(directory, None)
        job.write_status("running")
    runner: Runner | None = None

    def begin() -> None:
        assert runner is not None
        if not first:
            return
        if state:
            cut_back(directory, state)
            store_overrides(directory, given)
        write_origin(directory, job.origin, resumed=bool(state))
        job.write_classes(runner.train_loader.source.classes)
        describe(cfg, runner)
        if state:
            describe_resume(state, changes, runner)

    def end_as_lost(loss: Loss) -> None:
        """Write and tell that another process cannot go on, if this one does so for all."""
        assert mine is not None
        if not mine.speaks():  # the first one's log is on the screen, where another process has told it
            log.log(logging.ERROR if mine.rank else logging.DEBUG, mine.told(loss))
            return
        if runner is not None:
            runner.status, runner.failure = "failed", Failure(loss.reason, loss.stage, loss.hook)
        finish(job, runner, time.perf_counter() - started, PeerLost(loss), mine.told(loss))
        if loss.status != USER_ERROR:
            log.error(mine.told(loss))
            if mine.rank:
                mine.speak(mine.told(loss))

    try:
        with ending() as attach, told_to_peers(lambda: runner), process_group(cfg) as processes:
            if mine is not None:
                mine.last_words = end_as_lost
            runner = build_runner(cfg, job, chosen_option("optimizer"), processes)
            if mine is not None:
                mine.place, mine.others_wait = lambda: runner.place, lambda: runner.others_wait
                mine.ending = lambda: runner.status != "running"
            job.config = OmegaConf.to_yaml(cfg, resolve=True)
            if not state and first:
                store_config(cfg, directory)
            if state and not cfg.resume_force:
                check_classes(state, runner.train_loader.source.classes)
            attach(runner)
            if mine is not None:  # the others need not wait for hooks that still write something
                runner.on_error = lambda error: tell_peers(mine, error, runner)
            # What an earlier part of the run has left is touched only once its state fits.
            runner.run(state, force=cfg.resume_force, begin=begin)
            if mine is not None:
                mine.end_together()
    except PeerLost as error:
        assert mine is not None
        end_as_lost(error.loss)
        if error.loss.status == USER_ERROR:
            raise ConfigError(mine.told(error.loss)) from error
        sys.exit(error.loss.status)
    except Interrupted as error:
        if first:
            finish(job, runner, time.perf_counter() - started, error)
        log.info(interrupted_line(runner, str(error)))
        sys.exit(exit_status(str(error)))
    except StateError as error:
        if status and first:
            job.put_status(status)
        raise ConfigError(f"resume={cfg.resume}: {error}") from error
    except BaseException as error:
        own = mine.told(mine.failure) if mine is not None and mine.failure is not None else None
        if first:
            finish(job, runner, time.perf_counter() - started, error, None if is_users(error) else own)
        if runner is not None and runner.failure is not None and not is_users(error):
            log.error(own or failed_line(runner.failure))
        if isinstance(error, SystemExit):  # a hook's: the run has not come to its end, whatever status it asks for
            sys.exit(error.code or 1)
        raise
    seconds = time.perf_counter() - started
    if first:
        finish(job, runner, seconds)
    if (line := waiting_line(runner)) is not None:
        log.info(line)
    log.info(final_line(runner, seconds))
    if runner.status == "diverged":
        return worst(runner.monitor_mode)
    return runner.best.get(runner.monitor, math.nan)


@contextmanager
def told_to_peers(runner: Callable[[], Runner | None]) -> Iterator[None]:
    """Let the other processes know of an error in the block; raise `PeerLost` where it comes from one of them."""
    mine = peers()
    try:
        yield
    except BaseException as error:
        if mine is not None:
            tell_peers(mine, error, runner())
            if mine.loss is not None:
                raise PeerLost(mine.loss) from error
        raise


def tell_peers(mine: Peers, error: BaseException, runner: Runner | None) -> None:
    """Let the other processes know of an error unless it comes from one of them, which `mine.loss` then says."""
    if mine.cause_of(error) is not None or mine.failure is not None or isinstance(error, Interrupted):
        return
    failure = getattr(runner, "failure", None) or Failure(told_of(error), "start", None)
    reason = explain(error) if is_users(error) else failure.reason
    mine.fail(reason, USER_ERROR if is_users(error) else FAILED, failure.stage, failure.hook)


def keep_chosen(cfg: DictConfig, state: Mapping[str, Any]) -> None:
    """Let a run that goes on have what was chosen for it where its config leaves that open.

    The checkpoint may be a stranger's: of what it says, words, numbers and lists of these are taken, nothing to build.
    """
    stored = dict(flat(yaml.safe_load(state["config"])))
    augment = [f"augment.{key}" for key in cfg.get("augment") or ()]
    for key in ("runner.threads", "runner.precision", *augment):
        if OmegaConf.select(cfg, key) in ("auto", "test", None) and (chosen := stored.get(key)) is not None:
            values = chosen if isinstance(chosen, list) else [chosen]
            if all(isinstance(value, str | int | float) and "${" not in str(value) for value in values):
                OmegaConf.update(cfg, key, chosen)


def store_config(cfg: DictConfig, directory: Path) -> None:
    """Put what was chosen for `auto` into the config that Hydra left in the run directory, so that it repeats the run.

    A run that goes on has its config stored by the one that began it.
    """
    stored = directory / ".hydra" / "config.yaml"
    if stored.is_file():
        with replacing(stored) as beside:
            beside.write_text(OmegaConf.to_yaml(cfg))


def describe_resume(state: Mapping[str, Any], changes: Sequence[str], runner: Runner) -> None:
    """Say where the run goes on, and what has changed since."""
    clock = state["parts"]["clock"]
    done = f"{clock['iter']:,} of {runner.clock.max_iters:,}"
    if runner.clock.finished:
        log.info("the run has come to its end already: iteration %s", done)
    else:
        log.info("going on after iteration %s, in epoch %s", done, runner.clock.epoch + 1)
    for change in changes:
        log.info("changed: %s", change)
    if clock["max_iters"] != runner.clock.max_iters:
        log.info("the schedules are drawn anew for %s iterations", f"{runner.clock.max_iters:,}")


def interrupted_line(runner: Runner | None, signal: str) -> str:
    """Return where a run was interrupted, and how it goes on."""
    if runner is None or runner.clock.iter == 0:
        return f"interrupted ({signal}) before the first update was done; start it again"
    place = shown(runner.work_dir)
    where = f"interrupted ({runner.stop_reason}) after iteration {runner.clock.iter}"
    several = f" (it had {runner.processes.count} processes)" if runner.processes.count > 1 else ""
    return f"{where}; go on with: python src/train.py {shlex.quote(f'resume={place}')}{several}"


def failed_line(failure: Failure) -> str:
    """Return what failed where, above the stack trace that follows."""
    place = f"hooks.{failure.hook}, in {failure.stage}" if failure.hook else failure.stage
    return f"failed in {place}: {failure.reason}"


def finish(
    job: Job, runner: Runner | None, seconds: float, error: BaseException | None = None, reason: str | None = None
) -> None:
    """Write into the run directory how the run ended.

    Args:
        job: the run directory.
        runner: None if it could not be built.
        seconds: how long the run took.
        error: what ended it, None where it came to its end.
        reason: why it ended; None: as `runner` or `error` says.
    """
    interrupted = isinstance(error, KeyboardInterrupt | Interrupted)
    result: dict[str, Any] = {"status": "interrupted" if interrupted else "failed"}
    if error is not None:
        result |= {"reason": told_of(error), "stage": "start", "hook": None}
    if runner is not None:
        result["status"] = runner.status if runner.status != "running" else result["status"]
        if runner.failure is not None:
            result |= {"reason": runner.failure.reason, "stage": runner.failure.stage, "hook": runner.failure.hook}
        elif runner.stop_reason:
            result["reason"] = runner.stop_reason
    if reason is not None:
        result["reason"] = reason
    where = how_far(runner) if runner else {}
    why = {"reason": result["reason"]} if "reason" in result else {}
    result |= {
        "monitor": runner.monitor if runner else None,
        "final": _final(runner) if runner else {},
        "best": runner.best if runner else {},
        "epochs": runner.clock.epoch if runner else 0,
        "iterations": runner.clock.iter if runner else 0,
        "seconds": round(seconds, 3),
        "parameters": parameter_count(runner) if runner else None,
        "device": device_name(runner.device) if runner else None,
        "processes": runner.processes.count if runner else None,
        "overrides": list(job.overrides),
        "versions": job.origin.versions,
        "git_commit": job.origin.git_commit,
    }
    try:
        job.write_status(result["status"], **where, **why)
        job.write_result(result)
    except OSError as failed:  # a full disk must not hide how the run ended
        log.error("the outcome, %s, could not be written: %s", result["status"], reason_of(failed))


def _final(runner: Runner) -> dict[str, float]:
    row = runner.history[-1] if runner.history else {}
    return {name: row[name] for name in row if name.startswith(("val", "train/"))}


def final_line(runner: Runner, seconds: float) -> str:
    """Return what was reached, how long it took and where it is."""
    clock, best, monitor = runner.clock, runner.best, runner.monitor
    latest = next((row for row in reversed(runner.history) if monitor in row), {})
    reached = f"no {monitor}"
    if latest:
        reached = f"{monitor} {_number(monitor, latest[monitor])}"
        if best.get("iterations") != latest["iterations"]:
            reached += f" (best {_number(monitor, best[monitor])} in epoch {best['epoch']:g})" if best else ""
    ended = "done" if runner.status == "completed" else f"{runner.status} ({runner.stop_reason})"
    epochs = f"{round(clock.iter / clock.iters_per_epoch, 2):g}"
    return (
        f"{ended}: {reached} after {epochs} epoch{'s' * (epochs != '1')} ({clock.iter:,}"
        f" iteration{'s' * (clock.iter != 1)}, {seconds:.1f} s): {shown(runner.work_dir)}"
    )


def waiting_line(runner: Runner) -> str | None:
    """Return the share of the training time in which the loop waited for data, and what helps where it is large.

    None where nothing measured it.
    """
    waited, seconds = runner.sums.total("time/data")[0], runner.sums.total("time/iter")[0]
    if not seconds:
        return None
    share = 100 * waited / seconds
    line = f"waiting for data: {share:.0f} % of the training time"
    if share <= MUCH_WAITING:
        return line
    loader = runner.train_loader
    if not isinstance(loader, SampleLoader):
        return f"{line}; leave out some of the transforms (data.train_transforms), or train with larger batches"
    cores, ways = available_cores(), ["data.cache=raw", "data.in_memory=true", "fewer transforms"]
    if loader.workers < cores:
        ways.insert(0, f"data.workers={cores} (it was {loader.workers})")
    return f"{line}; what helps: {', '.join(ways)}"


def _number(name: str, value: float) -> str:
    return f"{value:.2f} %" if name.rpartition("/")[2].startswith("top") else f"{value:.4g}"


def describe(cfg: DictConfig, runner: Runner) -> None:
    """Say what is going to run: device, model, data, length, hooks and where it is written."""
    clock, source = runner.clock, runner.train_loader.source
    log.info("run directory: %s", shown(runner.work_dir))
    log.info(
        "model: %s, %s parameters, on %s, %s, %d thread%s",
        cfg.model.get("model_name") if "timm" in str(cfg.model._target_) else type(runner.model).__name__,
        f"{parameter_count(runner):,}",
        device_name(runner.device),
        runner.update.forward.precision,
        cfg.runner.threads,
        "s" * (cfg.runner.threads != 1),
    )
    log.info(
        "data: %s, %s images of %d classes; %s epoch%s of %s iterations, %s in all",
        cfg.data.get("name") or cfg.data._target_.rpartition(".")[2],
        f"{len(source):,}",
        len(source.classes),
        clock.max_epochs,
        "s" * (clock.max_epochs != 1),
        f"{clock.iters_per_epoch:,}",
        f"{clock.max_iters:,}",
    )
    if runner.processes.count > 1:
        log.info("processes: %d, which share each batch of %s images", runner.processes.count, cfg.data.batch_size)
    if runner.update.freeze is not None:
        log.info(runner.update.freeze.describe(runner.model))
    log.debug("hooks, in the order they are called:\n%s", runner.describe_hooks())
    if (factor := lr_factor(cfg)) != 1:
        base = cfg.auto_scale_lr.base_batch_size
        log.info("learning rate: times %g, for batches of %d instead of %d", factor, cfg.data.batch_size, base)
    if (note := lr_note(runner.optimizer)) is not None:
        log.warning("optimizer: %s", note)
    log.info("parameter groups:\n%s", groups_table(runner.optimizer))
    for warning in lr_warnings(runner.schedules["lr"], base_values(runner.optimizer, ["lr"])["lr"], runner.clock):
        log.warning(warning)


def parameter_count(runner: Runner) -> int:
    """Return how many numbers the model has to learn, frozen ones included."""
    return sum(p.numel() for p in runner.model.parameters())
