"""Which checkpoints a run leaves, and what happens when one cannot be written."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from tests.toy import timeless, toy_model, toy_runner

from hookline.checkpoint import CheckpointFolder, read, write
from hookline.config.errors import ConfigError, ParameterError
from hookline.engine import Runner
from hookline.hooks import Hook
from hookline.hooks.checkpoint import CheckpointHook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.job import Job


def run(folder: Path, *hooks: Hook, checkpoint: CheckpointHook | None = None, **options) -> Runner:
    """Run 3 epochs of 5 iterations with these hooks and return the runner."""
    hooks = (*hooks, checkpoint or CheckpointHook())
    runner = toy_runner(*hooks, job=Job(folder, config="seed: 0\n"), **{"max_epochs": 3, **options})
    runner.run()
    return runner


def iterations(folder: Path) -> list[int]:
    """Return after how many iterations the checkpoints are, the newest first."""
    return [read(path)["parts"]["clock"]["iter"] for path in CheckpointFolder(folder / "checkpoints").all()]


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / "checkpoints"))


def test_a_checkpoint_opens_safely_and_holds_the_run(tmp_path):
    runner = run(tmp_path, TrainMetricsHook(), EvaluationHook())
    last = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    parts = last["parts"]
    assert (parts["clock"]["epoch"], parts["clock"]["iter"], last["config"]) == (3, 15, "seed: 0\n")
    assert last["torch"] == torch.__version__
    for name, value in runner.model.state_dict().items():
        assert torch.equal(parts["model"][name], value)
    assert parts["optimizer"]["state"][0]["momentum_buffer"].shape == (3, 4)
    best = torch.load(tmp_path / "checkpoints" / "best.pt", weights_only=True)["parts"]
    assert best["clock"]["epoch"] == runner.best["epoch"]
    assert best["history"]["rows"][-1] == runner.best


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [15]),
        ({"max_keep_ckpts": 2}, [15, 10]),
        ({"max_keep_ckpts": -1}, [15, 10, 5]),
        ({"max_keep_ckpts": -1, "interval": 2}, [15, 10]),
        ({"max_keep_ckpts": -1, "interval": 2, "save_last": False}, [10]),
        ({"max_keep_ckpts": -1, "interval": 4, "by_epoch": False}, [15, 12, 8, 4]),
        ({"max_keep_ckpts": 2, "interval": 4, "by_epoch": False}, [15, 12]),
        ({"max_keep_ckpts": -1, "interval": 0}, [15]),
        ({"max_keep_ckpts": -1, "interval": 0, "every_seconds": 1e-9, "save_last": False}, [*range(15, 0, -1)]),
    ],
)
def test_when_checkpoints_are_written(tmp_path, options, expected):
    run(tmp_path, checkpoint=CheckpointHook(**options))
    assert iterations(tmp_path) == expected
    assert read(tmp_path / "checkpoints" / "last.pt")["parts"]["clock"]["iter"] == expected[0]


class Planned(Hook):
    """Logs planned numbers at the ends of epochs."""

    def __init__(self, *numbers: float, name: str = "score") -> None:
        self.numbers, self.number = numbers, name

    def after_train_epoch(self, runner):
        runner.log({self.number: self.numbers[runner.clock.epoch]})


@pytest.mark.parametrize(
    ("name", "mode", "best"), [("score", "max", 2), ("score", "min", 3), ("val/loss", None, 3), ("my_acc", None, 2)]
)
def test_best_is_a_link_to_the_best_of_any_number(tmp_path, name, mode, best):
    run(
        tmp_path,
        Planned(2.0, 3.0, 1.0, name=name),
        checkpoint=CheckpointHook(max_keep_ckpts=-1),
        monitor=name,
        mode=mode,
    )
    folder = tmp_path / "checkpoints"
    assert os.path.samefile(folder / "best.pt", folder / f"iter_{5 * best:08d}.pt")
    assert os.path.samefile(folder / "last.pt", folder / "iter_00000015.pt")


def test_the_best_outlives_its_interval_and_its_file(tmp_path):
    # The best epoch is no multiple of the interval, and only one file is kept.
    run(tmp_path, Planned(1.0, 2.0, 0.0, name="acc"), checkpoint=CheckpointHook(interval=3), monitor="acc")
    assert names(tmp_path) == ["best.pt", "iter_00000015.pt", "last.pt"]
    assert read(tmp_path / "checkpoints" / "best.pt")["parts"]["clock"]["epoch"] == 2


def test_the_best_is_kept_where_a_hook_adds_to_its_row(tmp_path):
    class Adds(Hook):
        def after_record(self, runner):
            if "more" not in runner.recorded:
                runner.log({"more": 1.0})

    run(
        tmp_path,
        Planned(1.0, 2.0, 0.0, name="acc"),
        Adds(),
        checkpoint=CheckpointHook(interval=3),
        monitor="acc",
    )
    assert read(tmp_path / "checkpoints" / "best.pt")["parts"]["clock"]["epoch"] == 2


def test_no_best_where_it_is_not_wanted(tmp_path):
    run(tmp_path, EvaluationHook(), checkpoint=CheckpointHook(save_best=False))
    assert names(tmp_path) == ["iter_00000015.pt", "last.pt"]


def test_without_the_optimizers_state(tmp_path):
    run(tmp_path, checkpoint=CheckpointHook(save_optimizer=False))
    parts = read(tmp_path / "checkpoints" / "last.pt")["parts"]
    assert "optimizer" not in parts
    toy_model().load_state_dict(parts["model"])


@pytest.mark.parametrize("options", [{"interval": -1}, {"every_seconds": 0}, {"max_keep_ckpts": 0}, {"by_epoch": 1}])
def test_wrong_options(options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        CheckpointHook(**options)


def test_a_slow_disk_gets_the_state_of_the_moment(tmp_path, monkeypatch):
    def slow(path, content):
        time.sleep(0.05)
        write(path, content)

    monkeypatch.setattr("hookline.checkpoint.writer.write", slow)
    weights = {}

    class Keep(Hook):
        def between_updates(self, runner):
            weights[runner.clock.iter] = runner.model[1].weight.detach().clone()

    run(tmp_path, Keep(), checkpoint=CheckpointHook(interval=1, by_epoch=False, max_keep_ckpts=-1), max_epochs=1)
    for path in CheckpointFolder(tmp_path / "checkpoints").all():
        parts = read(path)["parts"]
        assert torch.equal(parts["model"]["1.weight"], weights[parts["clock"]["iter"]])


def test_a_write_that_fails_stops_nothing_and_is_made_up_for(tmp_path, monkeypatch, caplog):
    fails = {5}  # the number of the iteration whose checkpoint cannot be written

    def sometimes(path, content):
        if content["parts"]["clock"]["iter"] in fails:
            raise RuntimeError("unexpected pos 64 vs 0")
        write(path, content)

    monkeypatch.setattr("hookline.checkpoint.writer.RETRIES", ())
    monkeypatch.setattr("hookline.checkpoint.writer.write", sometimes)
    monkeypatch.setattr("hookline.hooks.checkpoint.TRY_AGAIN", 0.0)

    class Wait(Hook):
        def before_train_iter(self, runner):
            time.sleep(0.02)

    with caplog.at_level(logging.WARNING, "hookline"):
        runner = run(tmp_path, Wait(), checkpoint=CheckpointHook(interval=1, max_keep_ckpts=-1), max_epochs=2)
    assert runner.status == "completed"
    (record,) = caplog.records
    assert "could not be written, training goes on (RuntimeError: unexpected pos" in record.getMessage()
    assert "MB free in" in record.getMessage()
    later = [n for n in iterations(tmp_path) if n < 10]
    assert later
    assert all(n > 5 for n in later)


def test_a_disk_without_room_is_told_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 8))
    with pytest.raises(ConfigError, match=r"checkpoint: a checkpoint takes up to .* MB, and the disk of .* free"):
        run(tmp_path)


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder with a file system of 4 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_that_is_freed(small_disk, monkeypatch, caplog):
    # A state is 1.2 MB with its momentum; the ballast leaves room for one, and not for the next beside it.
    monkeypatch.setattr("hookline.checkpoint.writer.RETRIES", (0.01,))
    monkeypatch.setattr("hookline.hooks.checkpoint.TRY_AGAIN", 0.0)
    ballast = small_disk / "ballast"

    class Disk(Hook):
        def between_updates(self, runner):
            if runner.clock.iter == 6:
                while CheckpointFolder(small_disk / "run" / "checkpoints").newest() is None:
                    time.sleep(0.01)
                # Another write may be under way and take room meanwhile.
                with suppress(OSError):
                    ballast.write_bytes(b"\1" * (shutil.disk_usage(small_disk).free - 300_000))
            if runner.clock.iter == 14:
                ballast.unlink()
            time.sleep(0.02)

    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3), torch.nn.Linear(3, 30_000))
    with caplog.at_level(logging.WARNING, "hookline"):
        runner = toy_runner(Disk(), CheckpointHook(), model=model, job=Job(small_disk / "run"), max_epochs=4)
        seen = []

        class Watch(Hook):
            def before_train_iter(self, watched):
                found = CheckpointFolder(small_disk / "run" / "checkpoints").newest()
                seen.append(found[1]["parts"]["clock"]["iter"] if found else 0)

        runner.register_hooks([Watch()])
        runner.run()
    assert runner.status == "completed"
    assert "could not be written" in caplog.text
    # Nothing new got onto the full disk, and what was there stayed good.
    assert set(seen[7:14]) == {5}
    assert iterations(small_disk / "run")[0] == 20


class Signal(Hook):
    """Asks the run to end, as a signal's handler does."""

    def __init__(self, stage: str, when) -> None:
        def ask(runner):
            if when(runner):
                runner.interrupt("SIGTERM")

        setattr(type(self), stage, lambda hook, runner: ask(runner))


def everything() -> list[Hook]:
    return [TrainMetricsHook(), EvaluationHook(), CheckpointHook()]


def test_the_first_of_two_signals_is_the_cause():
    from hookline.engine.runner import Interrupted

    class Two(Hook):
        def after_train_iter(self, runner):
            runner.interrupt("SIGINT")
            runner.interrupt("SIGTERM")  # which a launcher sends after it

    runner = toy_runner(Two(), max_epochs=1)
    with pytest.raises(Interrupted):
        runner.run()
    assert runner.stop_reason == "SIGINT"


@pytest.mark.parametrize(
    "stage", ["before_train_iter", "before_backward", "after_train_iter", "between_updates", "before_train_epoch",
              "after_train_epoch", "before_val_iter", "after_val_epoch", "after_record"]
)  # fmt: skip
def test_an_interrupted_run_leaves_where_it_was(tmp_path, stage):
    from hookline.engine.runner import Interrupted

    signal = type("Signal", (Signal,), {})(stage, lambda runner: runner.clock.iter == 5 or runner.clock.epoch == 1)
    runner = toy_runner(*everything(), signal, job=Job(tmp_path), max_epochs=3)
    with pytest.raises(Interrupted):
        runner.run()
    assert runner.status == "interrupted"
    _, content = CheckpointFolder(tmp_path / "checkpoints").newest()
    # The update at hand was finished; an evaluation was broken off and will be made again.
    assert content["parts"]["clock"]["iter"] == runner.clock.iter
    rest = toy_runner(*everything(), job=Job(tmp_path), max_epochs=3)
    rest.run(content)
    whole = toy_runner(*everything(), job=Job(tmp_path / "whole"), max_epochs=3)
    whole.run()
    assert torch.equal(rest.model[1].weight, whole.model[1].weight)
    assert [timeless(row) for row in rest.history] == [timeless(row) for row in whole.history]


def test_told_to_end_at_once_it_writes_nothing(tmp_path):
    class CtrlC(Hook):
        def after_train_iter(self, runner):
            if runner.clock.iter == 7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, CtrlC())
    assert iterations(tmp_path) == [5]
