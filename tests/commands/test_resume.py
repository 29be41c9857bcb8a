"""An interrupted run goes on from the command line as if it had never stopped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest
import torch
from tests.conftest import leave_undrawn, thinned

from hookline.analysis.lasting import lasting, tensorboard_series
from hookline.checkpoint import CheckpointFolder, read, write
from hookline.commands.app import run_app
from hookline.commands.train import train as train_task

# 3 iterations an epoch, and all that could tell two runs apart.
RUN = [
    *("data.transforms.resize=null", "data.batch_size=480", "runner.max_epochs=3", "runner.device=cpu"),
    *("optimizer=adamw", "optimizer.lr=0.01", "hooks=ema", "mix=both", "lr_schedule=one_cycle"),
    *("momentum_schedule=one_cycle", "logger.interval=2", "+model.drop_rate=0.2", "update.micro_batches=2"),
    "runner.threads=1",
]
SEND = "+hooks.mine._target_=tests.commands.killing.Send"
PLACE = "hydra.run.dir=outputs/run"


def trained(folder: Path, *arguments: str) -> Path:
    """Return the directory of a run of the command line that is made in a folder once for all tests."""
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SystemExit):
        leave_undrawn(patch)
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["train.py", *RUN, PLACE, *arguments])
        run_app(train_task, "train")
    return folder / "outputs" / "run"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return what lasts of a run that was never interrupted."""
    return lasting(trained(tmp_path_factory.mktemp("whole")))


def send(name: str, stage: str, after: int, *more: str) -> list[str]:
    """Return the overrides that send a signal in a stage."""
    return [SEND, f"+hooks.mine.name={name}", f"+hooks.mine.stage={stage}", f"+hooks.mine.after={after}", *more]


def assert_same(run_dir, expected) -> None:
    got = lasting(run_dir)
    assert {name: got[name] == expected[name] for name in expected} == dict.fromkeys(expected, True)


@pytest.mark.parametrize("number", thinned(["SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP", "SIGUSR2"]))
def test_a_signal_and_on(number, train, whole):
    before = signal.getsignal(getattr(signal, number))
    first = train(*RUN, PLACE, *send(number, "before_backward", 4))
    assert first.status == 128 + getattr(signal, number)
    assert first.err == ""
    # The update at hand was finished.
    line = f"interrupted ({number}) after iteration 5; go on with: python src/train.py resume=outputs/run"
    assert first.out.splitlines()[-1] == line
    for name in ("result.json", "status.json"):
        told = json.loads((first.run_dir / name).read_text())
        assert (told["status"], told["reason"]) == ("interrupted", number)
    assert signal.getsignal(getattr(signal, number)) == before
    second = train("resume=outputs/run", "hooks.mine=null")
    assert second.status == 0, second.err
    assert "going on after iteration 5 of 9, in epoch 2" in second.out
    assert json.loads((first.run_dir / "result.json").read_text())["status"] == "completed"
    assert_same(first.run_dir, whole)


STAGES = [
    *[("after_train_iter", 0, 1), ("between_updates", 3, 3), ("before_train_epoch", 3, 4)],
    *[("after_train_epoch", 3, 3), ("before_val_iter", 6, 6), ("after_val_epoch", 6, 6), ("after_record", 6, 6)],
]


@pytest.mark.parametrize(("stage", "after", "done"), thinned(STAGES))
def test_whenever_the_signal_comes(stage, after, done, train, whole):
    first = train(*RUN, PLACE, *send("SIGTERM", stage, after))
    assert first.status == 128 + signal.SIGTERM
    assert json.loads((first.run_dir / "result.json").read_text())["iterations"] == done
    assert train("resume=outputs/run", "hooks.mine=null").status == 0
    assert_same(first.run_dir, whole)


def test_a_chain_within_one_epoch_and_over_others(train, whole):
    first = train(*RUN, PLACE, *send("SIGTERM", "before_train_iter", 0))
    for after in (1, 2, 4, 6, 7):
        status = train("resume=outputs/run", f"hooks.mine.after={after}").status
        assert status == 128 + signal.SIGTERM
    assert train("resume=outputs/run", "hooks.mine=null").status == 0
    assert_same(first.run_dir, whole)


def test_a_second_ctrl_c_ends_it_at_once(train, whole):
    # The first comes at the end of the second epoch, whose validation is to come; the second as that begins.
    arguments = [*send("SIGINT", "after_train_epoch", 6), "+hooks.mine.again=before_val_epoch"]
    first = train(*RUN, PLACE, *arguments)
    assert (first.status, first.err) == (130, "interrupted\n")
    assert json.loads((first.run_dir / "result.json").read_text())["status"] == "interrupted"
    # What was there before is good: the end of the epoch before.
    assert CheckpointFolder(first.run_dir / "checkpoints").newest()[1]["parts"]["clock"]["iter"] == 3
    assert train("resume=outputs/run", "hooks.mine=null").status == 0
    assert_same(first.run_dir, whole)


def test_off_the_main_thread_nothing_breaks(train):
    finished = []
    thread = threading.Thread(target=lambda: finished.append(train(*RUN, PLACE, "runner.max_epochs=1")))
    thread.start()
    thread.join()
    assert finished[0].status == 0, finished[0].err


def test_no_thread_is_left(train):
    train(*RUN, PLACE, *send("SIGTERM", "after_train_iter", 2))
    assert "checkpoint" not in [thread.name for thread in threading.enumerate()]


@pytest.fixture(scope="module")
def interrupted_once(tmp_path_factory):
    place = tmp_path_factory.mktemp("interrupted")
    return trained(place, *send("SIGTERM", "before_backward", 4), "checkpoint.max_keep_ckpts=-1")


@pytest.fixture
def interrupted(interrupted_once, train, tmp_path):
    """Return the directory of a run that was interrupted after iteration 5."""
    return shutil.copytree(interrupted_once, tmp_path / "outputs" / "run", symlinks=True)


def go_on(train, *arguments: str):
    return train(*arguments, "hooks.mine=null")


def test_from_a_file(train, interrupted, whole):
    # Of an earlier moment than the newest: what was written since is cut away.
    assert go_on(train, "resume=outputs/run/checkpoints/iter_00000003.pt", "checkpoint.max_keep_ckpts=1").status == 0
    assert_same(interrupted, whole)


def test_from_a_folder_of_checkpoints(train, interrupted, whole):
    assert go_on(train, "resume=outputs/run/checkpoints", "checkpoint.max_keep_ckpts=1").status == 0
    assert_same(interrupted, whole)


def test_auto(train, whole):
    # The same command each time, as a cluster's job script has it.
    command = [*RUN, PLACE, "resume=auto"]
    first = train(*command, *send("SIGTERM", "before_backward", 4))
    assert first.status == 128 + signal.SIGTERM
    assert "going on" not in first.out
    second = train(*command)
    assert second.status == 0
    assert "going on after iteration 5" in second.out
    assert_same(first.run_dir, whole)
    third = train(*command)
    assert third.status == 0
    assert_same(first.run_dir, whole)


@pytest.mark.parametrize(
    "damage", thinned([lambda b: b[: len(b) // 2], lambda b: b[:5000] + bytes([b[5000] ^ 1]) + b[5001:]])
)
def test_a_damaged_checkpoint_is_named_and_the_next_newest_taken(damage, train, interrupted, whole):
    newest = CheckpointFolder(interrupted / "checkpoints").all()[0]
    newest.write_bytes(damage(newest.read_bytes()))
    second = go_on(train, "resume=outputs/run", "checkpoint.max_keep_ckpts=1")
    assert second.status == 0
    assert newest.name in second.out
    assert "damaged" in second.out
    assert "going on after iteration 3 of 9" in second.out
    assert_same(interrupted, whole)


def test_what_is_on_the_disk_after_the_checkpoint_is_cut_back(train, interrupted, whole):
    with (interrupted / "train.log").open("a") as log:
        log.write("2026 INFO: epoch 9/3  lr 0.1  train/loss 77\n")
    for file in (interrupted / "tensorboard").iterdir():
        file.write_bytes(file.read_bytes() + b"half a record")
    assert go_on(train, "resume=outputs/run", "checkpoint.max_keep_ckpts=1").status == 0
    assert_same(interrupted, whole)


def test_tensorboard_has_no_point_twice(train, interrupted):
    assert go_on(train, "resume=outputs/run").status == 0
    series = tensorboard_series(interrupted / "tensorboard")
    assert [step for step, _ in series["train/loss"]] == [0, 2, 4, 6, 8]
    assert [step for step, _ in series["val/top1"]] == [2, 5, 8]


@pytest.mark.parametrize(
    ("override", "message"),
    thinned(
        [
            ("seed=1", "seed=1: cannot change in mid-run, it was 0"),
            ("model.drop_rate=0.5", "model.drop_rate=0.5: cannot change in mid-run, it was 0.2"),
            ("optimizer=sgd", "optimizer._target_=torch.optim.SGD: cannot change"),
            ("data.batch_size=100", "data.batch_size=100: cannot change"),
        ]
    ),
)
def test_what_makes_another_run_is_refused(override, message, train, interrupted):
    before = {path: path.read_bytes() for path in interrupted.rglob("*") if path.is_file()}
    second = go_on(train, "resume=outputs/run", override)
    assert second.status == 2
    assert second.err.startswith(f"error: {message}")
    assert "resume_force=true" in second.err
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed <= {"train.log"}
    assert "going on" in go_on(train, "resume=outputs/run").out


def test_what_makes_another_run_can_be_forced(train, interrupted):
    second = go_on(train, "resume=outputs/run", "optimizer=sgd", "resume_force=true")
    assert second.status == 0, second.err
    assert "optimizer: the state does not fit" in second.out


def test_other_data_are_refused(train, interrupted, monkeypatch):
    monkeypatch.setattr("hookline.data.sets.digits.Digits.fingerprint", lambda self: "other data")
    second = go_on(train, "resume=outputs/run")
    assert second.status == 2
    assert "loader: the state does not fit: source was" in second.err


def test_what_may_change_is_said(train, interrupted):
    second = go_on(train, "resume=outputs/run", "runner.max_epochs=5", "logger.interval=1", "checkpoint.interval=2")
    assert second.status == 0
    assert "changed: runner.max_epochs: 3 -> 5" in second.out
    assert "changed: logger.interval: 2 -> 1" in second.out
    assert "the schedules are drawn anew for 15 iterations" in second.out
    assert json.loads((interrupted / "result.json").read_text())["epochs"] == 5


def test_what_was_changed_once_stays_so(train, interrupted):
    again = go_on(train, "resume=outputs/run", "runner.max_epochs=4", "runner.max_iters=null")
    assert json.loads((interrupted / "result.json").read_text())["epochs"] == 4
    again = go_on(train, "resume=outputs/run")
    assert again.status == 0
    assert json.loads((interrupted / "result.json").read_text())["epochs"] == 4


@pytest.mark.slow
def test_a_number_of_threads_goes_with_the_run(train):
    before = torch.get_num_threads()
    try:
        train(*RUN, PLACE, *send("SIGTERM", "before_backward", 4), "runner.threads=2")
        torch.set_num_threads(1)
        second = go_on(train, "resume=outputs/run", "runner.threads=auto")
        assert second.status == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("resume", "message"),
    [
        ("nowhere", "there is no such run directory or checkpoint"),
        (".", "is no run directory: it has no .hydra/overrides.yaml"),
        ("[1,2]", "there is no such run directory"),
    ],
)
def test_no_run_to_go_on_with(resume, message, train):
    finished = train(f"resume={resume}")
    assert finished.status == 2
    assert finished.err.startswith("error: resume=")
    assert message in finished.err


def test_a_run_without_checkpoints(train):
    train(*RUN, PLACE, "checkpoint=none", "runner.max_epochs=1")
    finished = train("resume=outputs/run")
    assert finished.status == 2
    assert "holds no checkpoint" in finished.err


def test_a_sweep_does_not_go_on_by_resume(train):
    finished = train("-m", "resume=outputs/run", "seed=1,2")
    assert finished.status == 2
    assert "cannot be combined with --multirun" in finished.err


def test_the_format_of_an_earlier_version_is_told(train, interrupted):
    path = CheckpointFolder(interrupted / "checkpoints").all()[0]
    content = read(path)
    old = {"model": content["parts"]["model"], "epoch": 1, "config": content["config"], "logs": {}}
    write(path, old)
    second = go_on(train, f"resume={path}")
    assert second.status == 2
    assert "of hookline 0.1 (format 1)" in second.err
    assert "model.checkpoint_path=" in second.err


def test_a_checkpoint_without_the_optimizer_is_told(train):
    first = train(*RUN, PLACE, "checkpoint.save_optimizer=false", "runner.max_epochs=1")
    second = train("resume=outputs/run", "runner.max_epochs=2")
    assert second.status == 2
    assert "optimizer: the state has no such part" in second.err
    assert first.status == 0


def test_a_refused_resume_changes_nothing(train, interrupted):
    before = json.loads((interrupted / "status.json").read_text())
    stored = (interrupted / ".hydra" / "overrides.yaml").read_text()
    refused = go_on(train, "resume=outputs/run", "runner.max_epochs=1")
    assert refused.status == 2
    assert "5 iterations are done, and this run has only 3" in refused.err
    assert json.loads((interrupted / "status.json").read_text()) == before
    assert (interrupted / ".hydra" / "overrides.yaml").read_text() == stored
    assert go_on(train, "resume=outputs/run").status == 0


def test_an_older_checkpoint_begins_a_new_future(train, interrupted):
    folder = interrupted / "checkpoints"
    again = train("resume=outputs/run/checkpoints/iter_00000003.pt", "hooks.mine.after=3")
    assert again.status == 128 + signal.SIGTERM
    names = sorted(path.name for path in folder.glob("iter_*"))
    assert names == ["iter_00000003.pt", "iter_00000004.pt"]
    assert "going on after iteration 4 of 9" in go_on(train, "resume=outputs/run").out


def test_a_limit_of_time_can_be_added(train, interrupted):
    limit = ["+hooks.limit._target_=hookline.hooks.max_seconds.MaxSecondsHook", "+hooks.limit.seconds=0.001"]
    assert "0.001 seconds are over" in go_on(train, "resume=outputs/run", *limit).out
    assert go_on(train, "resume=outputs/run", "hooks.limit=null").status == 0


EARLY = ["+hooks.early._target_=hookline.hooks.early_stopping.EarlyStoppingHook", "+hooks.early.patience=1"]


def test_a_run_that_was_stopped_early_stays_so(train):
    first = train(*RUN, PLACE, *EARLY, "+hooks.early.min_delta=99", *send("SIGTERM", "after_val_epoch", 6))
    assert first.status == 128 + signal.SIGTERM
    for _ in range(2):
        again = go_on(train, "resume=outputs/run")
        assert again.status == 0
        result = json.loads((first.run_dir / "result.json").read_text())
        assert (result["status"], result["iterations"]) == ("stopped", 6)
    steps = [step for step, _ in tensorboard_series(first.run_dir / "tensorboard")["train/loss"]]
    assert steps == [0, 2, 4, 5]


@pytest.mark.parametrize(("start", "done"), thinned([(2, 2), (0, 1)]))
def test_a_signal_in_an_evaluation_within_an_epoch(start, done, train):
    arguments = ["evaluation.by_epoch=false", "evaluation.interval=2", f"evaluation.start={start}"]
    train(*RUN, *arguments, "hydra.run.dir=outputs/never_stopped")
    first = train(*RUN, PLACE, *arguments, *send("SIGTERM", "before_val_iter", 0))
    assert first.status == 128 + signal.SIGTERM
    assert f"interrupted (SIGTERM) after iteration {done}; go on with" in first.out
    assert go_on(train, "resume=outputs/run").status == 0
    assert_same(Path("outputs/run"), lasting(Path("outputs/never_stopped")))


def test_a_signal_before_the_run(train, monkeypatch):
    def terminated(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("hookline.commands.train.build_runner", terminated)
    finished = train(*RUN, PLACE)
    assert finished.status == 128 + signal.SIGTERM
    assert "interrupted (SIGTERM) before the first update" in finished.out
    assert finished.result["status"] == "interrupted"


@pytest.mark.parametrize("content", ["", "a: 1", "hello", "[1, 2]", b"\xaa\xbb"])
def test_damaged_overrides_are_named(content, train, interrupted):
    path = interrupted / ".hydra" / "overrides.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused = train("resume=outputs/run")
    assert refused.status == 2
    assert "overrides.yaml" in refused.err


@pytest.mark.parametrize("missing", ["config", "logs", "parts"])
def test_a_checkpoint_that_lacks_something_is_told(missing, train, interrupted):
    path = CheckpointFolder(interrupted / "checkpoints").all()[0]
    content = read(path)
    del content[missing]
    write(path, content)
    refused = go_on(train, f"resume={path}")
    assert refused.status == 2
    assert "the checkpoint lacks" in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resume=outputs/run", "resume_force=3"], "resume_force=3: must be"),
        (["resume=outputs/run", "hydra.run.dir=elsewhere"], "goes on in its own directory"),
        (["resume=5"], "there is no such run directory"),
        (["runner.threads=100000"], "runner.threads=100000: must be an integer > 0 and <= 1024"),
    ],
)
def test_more_mistakes(arguments, message, train, interrupted):
    refused = train(*arguments)
    assert refused.status == 2
    assert message in refused.err
