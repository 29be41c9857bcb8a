"""Every run ends through the same door: whatever went wrong, and wherever, all hooks and sinks hear of it."""

from __future__ import annotations

import json

import numpy
import pytest
import torch
from tests.toy import timeless, toy_loader, toy_model, toy_runner

from hookline.checkpoint import read
from hookline.engine import Runner
from hookline.engine.hook import STAGES
from hookline.hooks import Hook, Priority
from hookline.hooks.checkpoint import CheckpointHook
from hookline.hooks.ema import EMAHook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.log import LogHook
from hookline.hooks.lr_curve import LRCurveHook
from hookline.hooks.schedule import ScheduleHook
from hookline.hooks.text import TextHook
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.job import Job
from hookline.loggers.metrics_csv import MetricsCSVSink
from hookline.loggers.sink import Sink
from hookline.loggers.tensorboard import TensorBoardSink


class Notes(Sink):
    """Notes when it is opened and how it is closed."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def open(self, job, resumed):
        self.seen.append("open")

    def close(self, status):
        self.seen.append(status)


class Last(Hook):
    """Notes what it sees at the end of the run."""

    def __init__(self, priority: int = Priority.NORMAL) -> None:
        self.priority = priority
        self.seen: list[str] = []

    def after_run(self, runner):
        self.seen.append(runner.status)


def failing(stage: str, error: BaseException, priority: int = Priority.NORMAL, when=lambda runner: True) -> Hook:
    """Return a hook named `culprit` that raises in this stage."""

    def fail(self, runner):
        if when(runner):
            raise error

    culprit = type("Failing", (Hook,), {stage: fail})()
    culprit.name, culprit.priority = "culprit", priority
    return culprit


@pytest.mark.parametrize("stage", STAGES)
def test_an_error_in_a_hook(stage, tmp_path):
    sink, early, late = Notes(), Last(Priority.HIGHEST), Last(Priority.LOWEST)
    # The logger comes first at the start, so that there is a sink to close, and before `late` at the end.
    logger = LogHook({"notes": sink})
    logger.priority = Priority.HIGH if stage != "after_run" else Priority.VERY_LOW
    error = ValueError("out of luck")
    runner = toy_runner(EvaluationHook(), failing(stage, error), logger, early, late, job=Job(tmp_path))
    with pytest.raises(ValueError, match="out of luck") as raised:
        runner.run()
    assert raised.value is error
    assert runner.status == "failed"
    assert runner.failure is not None
    assert (runner.failure.reason, runner.failure.stage, runner.failure.hook) == (
        "ValueError: out of luck",
        stage,
        "culprit",
    )
    assert late.seen == ["failed"]
    assert early.seen == ["completed" if stage == "after_run" else "failed"]
    assert sink.seen == ["open", "failed"]


@pytest.mark.parametrize("stage", STAGES)
def test_the_checkpoint_before_an_error_is_good(stage, tmp_path):
    def hooks() -> list[Hook]:
        sinks = {"csv": MetricsCSVSink(), "tensorboard": TensorBoardSink()}
        watchers = [TrainMetricsHook(), LRCurveHook(), TextHook(), LogHook(sinks)]
        return [ScheduleHook(), EvaluationHook(), EMAHook(decay=0.5), CheckpointHook(), *watchers]

    last = tmp_path / "checkpoints" / "last.pt"
    culprit = failing(stage, OSError("disk full"), when=lambda runner: runner.clock.epoch >= 1 or stage == "before_run")
    broken = toy_runner(*hooks(), culprit, job=Job(tmp_path))
    with pytest.raises(OSError, match="disk full"):
        broken.run()
    assert broken.failure is not None
    assert broken.failure.stage == stage
    rest = toy_runner(*hooks(), job=Job(tmp_path))
    rest.run(read(last) if last.exists() else None)
    assert last.exists()
    whole = toy_runner(*hooks(), job=Job(tmp_path / "whole"))
    whole.run()
    assert rest.status == "completed"
    assert [timeless(row) for row in rest.history] == [timeless(row) for row in whole.history]
    assert torch.equal(rest.model[1].weight, whole.model[1].weight)


def test_a_run_that_fails_before_its_sinks_are_opened_does_not_blame_them(tmp_path, caplog):
    logger = LogHook({"csv": MetricsCSVSink(), "tensorboard": TensorBoardSink(), "notes": (notes := Notes())})
    runner = toy_runner(failing("before_run", ValueError("too early")), logger, job=Job(tmp_path))
    with pytest.raises(ValueError, match="too early"):
        runner.run()
    assert notes.seen == []
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_an_error_in_the_update():
    def forward(images):
        raise RuntimeError("shapes differ")

    model = toy_model()
    model.forward = forward
    runner = toy_runner(last := Last(), model=model)
    assert_failed(runner, last, "RuntimeError: shapes differ", "update")


def test_an_error_in_the_loader():
    class Broken:
        def __init__(self) -> None:
            self.whole = toy_loader()

        def __len__(self) -> int:
            return len(self.whole)

        def batches(self, epoch: int, start: int = 0):
            yield from list(self.whole.batches(epoch, start))[:3]
            raise RuntimeError("file is gone")

    runner = toy_runner(last := Last(), loader=Broken())
    assert_failed(runner, last, "RuntimeError: file is gone", "data")
    assert runner.clock.iter == 3


def assert_failed(runner: Runner, last: Last, reason: str, stage: str) -> None:
    with pytest.raises(RuntimeError):
        runner.run()
    assert (runner.status, last.seen) == ("failed", ["failed"])
    assert runner.failure is not None
    assert (runner.failure.reason, runner.failure.stage, runner.failure.hook) == (reason, stage, None)


def test_an_error_as_an_epoch_begins():
    def begin_epoch(epoch):
        raise RuntimeError("no such module")

    runner = toy_runner(last := Last())
    runner.update.begin_epoch = begin_epoch
    assert_failed(runner, last, "RuntimeError: no such module", "update")


@pytest.mark.parametrize("batches", [0, 4])
def test_a_loader_that_gives_less_than_its_length(batches):
    class Short:
        def __init__(self) -> None:
            self.whole = toy_loader()

        def __len__(self) -> int:
            return len(self.whole)

        def batches(self, epoch: int, start: int = 0):
            yield from list(self.whole.batches(epoch, start))[:batches]

    runner = toy_runner(last := Last(), loader=Short())
    assert_failed(
        runner, last, f"RuntimeError: the loader gave {batches} batches in epoch 1, and its length is 5", "data"
    )


def test_an_error_that_cannot_be_told():
    class Silent(Exception):
        def __str__(self):
            raise ValueError("no text")

    runner = toy_runner(failing("after_train_iter", Silent()), last := Last())
    with pytest.raises(Silent):
        runner.run()
    assert last.seen == ["failed"]
    assert runner.failure is not None
    assert (runner.failure.reason, runner.failure.hook) == ("Silent", "culprit")


def test_an_interrupt_in_one_sinks_end_does_not_leave_the_others_open(tmp_path):
    class Interrupted(Sink):
        def close(self, status):
            raise KeyboardInterrupt

    sinks = {"first": Interrupted(), "second": (notes := Notes())}
    with pytest.raises(KeyboardInterrupt):
        toy_runner(LogHook(sinks), job=Job(tmp_path)).run()
    assert notes.seen == ["open", "completed"]


def test_a_sink_without_a_state_does_not_stop_checkpoints(tmp_path):
    class Stateless(Sink):
        def state_dict(self):
            raise OSError("no connection")

    runner = toy_runner(LogHook({"bad": Stateless()}), CheckpointHook(), job=Job(tmp_path))
    runner.run()
    assert runner.status == "completed"
    assert read(tmp_path / "checkpoints" / "last.pt")["parts"]["clock"]["iter"] == 10


class Measured:
    """A metric whose number is of another library."""

    def __init__(self, number) -> None:
        self.number = number

    def reset(self):
        pass

    def update(self, outputs, batch):
        pass

    def compute(self):
        return {"acc": self.number}


@pytest.mark.parametrize("number", [numpy.float64(7), numpy.float32(7), torch.tensor(7.0), numpy.array(7), 7])
def test_numbers_of_other_libraries(number, tmp_path):
    runner = toy_runner(EvaluationHook(), CheckpointHook(), job=Job(tmp_path), monitor="val/acc")
    runner.metrics = [Measured(number)]
    runner.run()
    assert type(runner.best["val/acc"]) in (int, float)
    assert read(tmp_path / "checkpoints" / "best.pt")["parts"]["history"]["rows"][-1]["val/acc"] == 7


@pytest.mark.parametrize("number", [None, "7", [1, 2], torch.ones(2)])
def test_a_number_that_is_none_is_told_where_it_comes_from(number):
    runner = toy_runner(EvaluationHook(), monitor="val/acc")
    runner.metrics = [Measured(number)]
    with pytest.raises(TypeError, match=r"^val/acc="):
        runner.run()
    assert runner.failure is not None
    assert (runner.failure.stage, runner.failure.hook) == ("after_train_epoch", "evaluation")


def test_the_names_of_a_rows_place_are_not_for_numbers():
    class Clash(Hook):
        def after_train_iter(self, runner):
            runner.log({"epoch": 77})

    with pytest.raises(ValueError, match=r"^epoch: this name is a row's own"):
        toy_runner(Clash()).run()


def test_an_error_in_one_after_run_does_not_keep_another_from_being_called():
    first, second = ValueError("first"), ValueError("second")
    last = Last(Priority.LOWEST)
    runner = toy_runner(failing("after_run", first), failing("after_run", second, Priority.LOW), last, max_iters=1)
    with pytest.raises(ValueError, match="first"):
        runner.run()
    assert last.seen == ["failed"]
    assert runner.failure is not None
    assert runner.failure.reason == "ValueError: first"


def test_an_error_in_after_run_does_not_hide_the_one_before_it():
    last = Last(Priority.LOWEST)
    earlier = failing("after_train_iter", ValueError("the cause"))
    runner = toy_runner(earlier, failing("after_run", KeyError("a consequence")), last)
    with pytest.raises(ValueError, match="the cause"):
        runner.run()
    assert runner.failure is not None
    assert (runner.failure.reason, runner.failure.stage) == ("ValueError: the cause", "after_train_iter")
    assert last.seen == ["failed"]


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupt(stage):
    last = Last(Priority.LOWEST)
    runner = toy_runner(EvaluationHook(), failing(stage, KeyboardInterrupt()), last)
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    assert (runner.status, last.seen) == ("interrupted", ["interrupted"])


@pytest.mark.parametrize(("stop", "status"), [(99, "completed"), (3, "stopped")])
def test_an_end_without_an_error(stop, status, tmp_path):
    class Stop(Hook):
        def after_train_iter(self, runner):
            if runner.clock.iter == stop:
                runner.stop("enough")

    sink = Notes()
    runner = toy_runner(Stop(), LogHook({"notes": sink}), last := Last(), job=Job(tmp_path))
    runner.run()
    assert (runner.status, runner.failure) == (status, None)
    assert last.seen == [status]
    assert sink.seen == ["open", status]


class FailsInTheSecondEpoch(Hook):
    """Raises in the middle of a run."""

    def before_backward(self, runner):
        if runner.clock.epoch == 1:
            raise ValueError("not a number")


def test_the_run_directory_tells_it(train, tmp_path):
    culprit = "+hooks.culprit._target_=tests.engine.test_end.FailsInTheSecondEpoch"
    with pytest.raises(ValueError, match="not a number"):
        train(culprit, "data.batch_size=720", "data.transforms.resize=null", "runner.max_epochs=3")
    (file,) = tmp_path.glob("outputs/**/result.json")
    result = json.loads(file.read_text())
    assert result["status"] == "failed"
    assert (result["reason"], result["stage"], result["hook"]) == (
        "ValueError: not a number",
        "before_backward",
        "culprit",
    )
    assert (result["epochs"], result["iterations"]) == (1, 2)
    assert Job(file.parent).read_status()["status"] == "failed"
    assert read(file.parent / "checkpoints" / "last.pt")["parts"]["clock"]["epoch"] == 1


def test_the_error_that_ends_a_run_is_told_before_hooks_are_called_for_its_end():
    error, seen = ValueError("no luck"), []

    class Ends(Hook):
        def after_run(self, runner):
            seen.append("after_run")

    runner = toy_runner(failing("after_train_iter", error), Ends())
    runner.on_error = lambda error: seen.append((error, runner.failure.stage))
    with pytest.raises(ValueError, match="no luck"):
        runner.run()
    assert seen == [(error, "after_train_iter"), "after_run"]
