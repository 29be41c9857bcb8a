"""How a run ends: what `train` returns, the exit status, and what the run directory says of it."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import socket
import sys
from datetime import datetime
from pathlib import Path

import pytest
from tests.conftest import thinned

from hookline import checkpoint
from hookline.commands.train import train as train_task
from hookline.experiment import build_runner
from hookline.job import Job

SHORT = ["data.transforms.resize=null", "data.batch_size=480", "runner.max_epochs=3"]

HOOKS = """
from hookline.config.errors import ConfigError
from hookline.hooks import Hook

ERRORS = {"bug": RuntimeError("too hot"), "wrong": ConfigError("hooks.mine: is wrong"), "ctrl-c": KeyboardInterrupt()}


class Raise(Hook):
    def __init__(self, stage: str, error: str = "bug", after: int = 0) -> None:
        self.error, self.after = ERRORS[error], after
        self.__class__ = type("Raise", (Raise,), {stage: Raise.act})

    def act(self, runner) -> None:
        if runner.clock.iter >= self.after:
            raise self.error


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


ERRORS |= {"exit": SystemExit(0), "mute": Mute()}


class Silent(Hook):
    pass  # for all that anybody knows before the run, it may log a number of its own


class Enough(Hook):
    def after_train_iter(self, runner) -> None:
        if runner.clock.iter == 3:
            runner.stop("it is enough")
"""
MINE = "+hooks.mine._target_=my_hooks."


@pytest.fixture(autouse=True)
def my_hooks(tmp_path, monkeypatch):
    (tmp_path / "my_hooks.py").write_text(HOOKS)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_hooks", None)


@pytest.fixture
def returned(run_task):
    """Return a function that runs `src/train.py` with these arguments, and gives what `train` returned."""

    def run(*arguments: str):
        values = []

        def task(cfg) -> None:
            values.append(train_task(cfg))

        finished = run_task(task, "train", *SHORT, *arguments)
        assert finished.status == 0, finished.err
        return values[0], finished

    return run


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


def only_run(folder: Path) -> Path:
    (log,) = folder.glob("outputs/**/train.log")
    return log.parent


@pytest.mark.parametrize(
    ("arguments", "monitor", "best"),
    thinned(
        [
            ([], "val/top1", max),
            (["evaluation.monitor=val/loss"], "val/loss", min),
            (["evaluation.monitor=train/loss"], "train/loss", min),
            (["evaluation.monitor=val/loss", "evaluation.mode=max"], "val/loss", max),
            (["evaluation=none"], "train/loss", min),
            (["hooks=ema", "hooks.ema.decay=0.5", "evaluation.monitor=val_ema/top5"], "val_ema/top5", max),
        ],
        2,
    ),
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_the_best_monitored_number_is_returned(arguments, monitor, best, returned):
    # The learning rate is so large that the validation gets worse with every epoch.
    value, finished = returned(*arguments, "optimizer.lr=0.5", "lr_schedule=fixed")
    rows = list(csv.DictReader((finished.run_dir / "metrics.csv").open()))
    assert value == best(float(row[monitor]) for row in rows)
    assert finished.result["monitor"] == monitor
    assert finished.result["best"][monitor] == value


def test_a_number_that_nobody_measured_is_nan(returned):
    monitor = ("evaluation.monitor=mine/number", "evaluation.mode=max")
    value, finished = returned("evaluation.metrics=null", *monitor, f"{MINE}Silent")
    assert math.isnan(value)
    assert finished.result["best"] == {}
    assert finished.result["status"] == "completed"


def test_a_completed_run(returned):
    _, finished = returned()
    result, status = finished.result, read(finished.run_dir, "status.json")
    assert result["status"] == status["status"] == "completed"
    assert not {"reason", "stage", "hook"} & {*result, *status}
    assert (result["epochs"], result["iterations"]) == (3, 9)
    assert (status["epoch"], status["max_epochs"]) == (3, 3)
    assert (status["iter"], status["max_iters"]) == (9, 9)
    assert (status["pid"], status["host"]) == (os.getpid(), socket.gethostname())
    assert datetime.fromisoformat(status["started"]) <= datetime.fromisoformat(status["updated"])
    assert result["overrides"] == SHORT
    assert (result["monitor"], result["parameters"]) == ("val/top1", 373_370)


def test_a_stopped_run_says_why(returned):
    value, finished = returned(f"{MINE}Enough")
    result, status = finished.result, read(finished.run_dir, "status.json")
    assert result["status"] == status["status"] == "stopped"
    assert result["reason"] == status["reason"] == "it is enough"
    assert result["iterations"] == status["iter"] == 4
    assert value == result["best"]["val/top1"]
    assert finished.out.strip().splitlines()[-1].startswith("stopped (it is enough): val/top1")


def test_an_error_at_the_start(train):
    finished = train(*SHORT, "optimizer.lr=-1")
    result, status = finished.result, read(finished.run_dir, "status.json")
    assert finished.status == 2
    assert result["status"] == status["status"] == "failed"
    assert result["reason"] == status["reason"]
    assert result["reason"].startswith("ConfigError: optimizer.lr=-1: ")
    assert (result["stage"], result["hook"]) == ("start", None)
    assert (result["best"], result["final"], result["iterations"]) == ({}, {}, 0)


def test_ctrl_c_at_the_start(train, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("hookline.commands.train.build_runner", interrupt)
    finished = train(*SHORT)
    assert (finished.status, finished.err) == (130, "interrupted\n")
    assert finished.result["status"] == read(finished.run_dir, "status.json")["status"] == "interrupted"
    assert finished.result["stage"] == "start"


# Some stages, and how many iterations are done when each is first called.
STAGES = {
    "before_run": 0,
    "before_train_iter": 0,
    "before_backward": 0,
    "after_val_iter": 3,
    "after_record": 3,
    "after_run": 9,
}


@pytest.mark.parametrize("stage", thinned(STAGES))
def test_a_bug_in_a_hook(stage, train, tmp_path):
    with pytest.raises(RuntimeError, match="too hot"):
        train(*SHORT, f"{MINE}Raise", f"+hooks.mine.stage={stage}")
    folder = only_run(tmp_path)
    result, status = read(folder, "result.json"), read(folder, "status.json")
    assert result["status"] == status["status"] == "failed"
    assert result["reason"] == status["reason"] == "RuntimeError: too hot"
    assert (result["stage"], result["hook"]) == (stage, "mine")
    assert result["iterations"] == status["iter"] == STAGES[stage]
    assert "RuntimeError: too hot" in (folder / "train.log").read_text()


def test_a_users_error_in_mid_run(train):
    finished = train(*SHORT, f"{MINE}Raise", "+hooks.mine.stage=after_train_iter", "+hooks.mine.error=wrong")
    assert (finished.status, finished.err) == (2, "error: hooks.mine: is wrong\n")
    assert finished.result["status"] == "failed"
    assert finished.result["reason"] == "ConfigError: hooks.mine: is wrong"
    assert (finished.result["stage"], finished.result["hook"]) == ("after_train_iter", "mine")


def test_a_schedules_error_in_mid_run(train):
    finished = train(*SHORT, "lr_schedule=plateau", "lr_schedule.monitor=val/acc", f"{MINE}Silent")
    assert finished.status == 2
    assert finished.err.startswith("error: lr_schedule.monitor=val/acc: must be one of the run's numbers: ")
    assert (finished.result["stage"], finished.result["hook"]) == ("before_train_iter", "schedule")
    assert (finished.result["epochs"], finished.result["iterations"]) == (1, 3)


def test_ctrl_c(train):
    finished = train(*SHORT, f"{MINE}Raise", "+hooks.mine.stage=after_train_iter", "+hooks.mine.error=ctrl-c")
    assert (finished.status, finished.err) == (130, "interrupted\n")
    result, status = finished.result, read(finished.run_dir, "status.json")
    assert result["status"] == status["status"] == "interrupted"
    assert result["reason"] == "KeyboardInterrupt"
    assert (result["stage"], result["hook"]) == ("after_train_iter", "mine")


@pytest.mark.parametrize("error", thinned(["bug", "ctrl-c"], 2))
def test_the_checkpoint_before_the_end_still_loads(error, train, tmp_path, config):
    arguments = [f"{MINE}Raise", "+hooks.mine.stage=after_train_iter", f"+hooks.mine.error={error}"]
    try:
        train(*SHORT, *arguments, "+hooks.mine.after=7")
    except RuntimeError:
        assert error == "bug"
    folder = only_run(tmp_path)
    assert read(folder, "result.json")["iterations"] == 7
    state = checkpoint.read(folder / "checkpoints" / "last.pt")
    runner = build_runner(config(*SHORT, "runner.device=cpu"), Job(tmp_path / "continued"))
    runner.run(state)
    assert [row["iterations"] for row in runner.history] == [3, 6, 9]
    assert {path.name for path in (folder / "checkpoints").iterdir()} <= {
        "last.pt",
        "best.pt",
        "iter_00000006.pt",
        "iter_00000007.pt",
    }


def test_a_failure_does_not_hide_the_numbers_before_it(train, tmp_path):
    with pytest.raises(RuntimeError):
        train(*SHORT, f"{MINE}Raise", "+hooks.mine.stage=after_train_iter", "+hooks.mine.after=7")
    folder = only_run(tmp_path)
    result = read(folder, "result.json")
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert len(rows) == 2
    assert result["final"]["val/top1"] == float(rows[-1]["val/top1"])
    assert result["best"]["val/top1"] == max(float(row["val/top1"]) for row in rows)
    assert (folder / "lr_curve.png").stat().st_size > 0


def test_an_exit_asked_for_by_a_hook_is_a_failure(train):
    finished = train(*SHORT, f"{MINE}Raise", "+hooks.mine.stage=after_train_iter", "+hooks.mine.error=exit")
    assert (finished.status, finished.result["status"]) == (1, "failed")


def test_an_error_without_a_text_is_told_by_its_kind(train, tmp_path):
    with pytest.raises(Exception, check=lambda e: type(e).__name__ == "Mute"):  # noqa: B017
        train(*SHORT, f"{MINE}Raise", "+hooks.mine.stage=after_train_iter", "+hooks.mine.error=mute")
    assert read(only_run(tmp_path), "result.json")["reason"] == "Mute"


def test_a_full_disk_does_not_hide_how_the_run_ended(train, monkeypatch):
    def full(*arguments, **numbers):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Job, "write_result", full)
    finished = train(*SHORT)
    assert finished.status == 0
    *lines, last = finished.out.strip().splitlines()
    assert "the outcome, completed, could not be written: No space left on device" in lines
    assert last.startswith("done: ")
