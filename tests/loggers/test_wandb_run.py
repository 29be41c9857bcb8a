"""Weights & Biases, offline and really run: what the folder holds that `wandb sync` would send."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from tests.loggers.broken_off import Dies, broken_off, run_of, timeless

from hookline.config.errors import ConfigError, ParameterError
from hookline.hooks import Hook
from hookline.loggers import wandb_file
from hookline.loggers.wandb_run import WandbSink

pytest.importorskip("wandb")


def records(path: Path):
    """Yield the records of a .wandb file."""
    from wandb.proto.wandb_internal_pb2 import Record

    yield from map(Record.FromString, wandb_file.records(path.read_bytes()))


def read(directory: Path, whole: bool = True) -> tuple[set[str], dict[str, list[tuple[int, float]]], list]:
    """Return the identifiers, the points by name and all records of what lies in a run directory."""
    ids, points, every = set(), {}, []
    for path in sorted(directory.glob("wandb/offline-run-*/*.wandb")):
        # W&B's own process writes the file, and may still do so when a run has ended.
        while not (found := list(records(path))) or (whole and found[-1].WhichOneof("record_type") != "exit"):
            time.sleep(0.01)
        for record in found:
            every.append(record)
            if record.WhichOneof("record_type") == "run":
                ids.add(record.run.run_id)
            elif record.WhichOneof("record_type") == "history":
                values = {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
                step = values["_step"]
                for name, value in values.items():
                    if not name.startswith("_"):
                        points.setdefault(name, []).append((step, value))
    return ids, points, every


def test_numbers_settings_and_code_are_there(tmp_path):
    run_of({"sink": WandbSink(tags=["a"])}, tmp_path).run()
    ids, points, every = read(tmp_path)
    assert len(ids) == 1
    assert [step for step, _ in points["train/loss"]] == list(range(10))
    assert [step for step, _ in points["val/top1"]] == [4, 9]
    assert {"learning_rate/0", "momentum/0", "throughput/images_per_second", "memory/process_mib"} <= points.keys()
    (run,) = [record.run for record in every if record.WhichOneof("record_type") == "run"]
    config = {update.key: json.loads(update.value_json) for update in run.config.update}
    assert config["optimizer.lr"] == 0.1
    assert config["origin"]["command"] == "python src/train.py optimizer.lr=0.1"
    (diff,) = tmp_path.glob("wandb/offline-run-*/files/git.diff")
    assert "+lr: 0.1" in diff.read_text()


@pytest.mark.parametrize(("saved", "fails"), [(3, 7), (5, 6)])
def test_a_run_that_goes_on_is_the_same_run_and_has_no_point_twice(tmp_path, saved, fails):
    run_of({"sink": WandbSink()}, tmp_path / "whole").run()
    broken_off(WandbSink, tmp_path / "broken", saved, fails)
    ids, points, _ = read(tmp_path / "broken")
    assert len(ids) == 1
    assert timeless(points) == timeless(read(tmp_path / "whole")[1])


@pytest.mark.parametrize("kept", [1, 4])
def test_what_a_killed_run_had_sent_and_wandb_had_not_written_is_sent_again(tmp_path, kept):
    run_of({"sink": WandbSink()}, tmp_path / "whole").run()
    broken, dies = tmp_path / "broken", Dies(saved=4, fails=7)
    with pytest.raises(RuntimeError, match="the run dies"):
        run_of({"sink": WandbSink()}, broken, dies).run()
    read(broken)
    # A kill would leave this: no note of how the run ended, and a file that breaks off.
    (broken / "wandb.json").write_text(json.dumps({"id": json.loads((broken / "wandb.json").read_text())["id"]}))
    (file,) = broken.glob("wandb/offline-run-*/*.wandb")
    while max(step for step, _ in read(broken, whole=False)[1]["train/loss"]) > kept:
        os.truncate(file, file.stat().st_size - 100)
    run_of({"sink": WandbSink()}, broken, Dies(-1, -1)).run(dies.kept)
    ids, points, _ = read(broken, whole=False)
    assert len(ids) == 1
    assert timeless(points) == timeless(read(tmp_path / "whole")[1])


def test_what_an_interrupted_epochs_end_measures_when_it_is_done_again_is_there(tmp_path):
    from hookline.engine.runner import Interrupted

    class Interrupts(Hook):
        def before_val_iter(self, runner):
            runner.interrupt("SIGINT")
            kept.update(runner.resumable_state())

    kept: dict = {}
    with pytest.raises(Interrupted):
        run_of({"sink": WandbSink()}, tmp_path, Interrupts()).run()
    run_of({"sink": WandbSink()}, tmp_path).run(kept)
    _, points, _ = read(tmp_path)
    assert [step for step, _ in points["val/top1"]] == [4, 9]
    assert [step for step, _ in points["train/loss"]] == list(range(10))


def test_a_run_from_the_start_in_the_same_directory_is_another_run(tmp_path):
    run_of({"sink": WandbSink()}, tmp_path).run()
    run_of({"sink": WandbSink()}, tmp_path).run()
    assert len(read(tmp_path)[0]) == 2


def test_nobody_waits_for_a_login(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("wandb.login", lambda **options: False)
    runner = run_of({"wandb": WandbSink(mode="online")}, tmp_path)
    runner.run()
    assert runner.status == "completed"
    (told,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "logger.wandb failed, training goes on: RuntimeError: nobody is logged in" in told


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr("hookline.config.packages.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"logger=wandb: needs the package wandb; .* pip install -e '\.\[wandb\]'"):
        WandbSink()


def test_modes():
    with pytest.raises(ParameterError, match="mode='onlin': must be one of offline, online"):
        WandbSink(mode="onlin")
