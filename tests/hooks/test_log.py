"""The hook that hands numbers to the sinks."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from tests.toy import toy_runner

from hookline.config.errors import ConfigError, ParameterError
from hookline.hooks import Hook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.log import LogHook
from hookline.hooks.schedule import ScheduleHook
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.job import Job
from hookline.loggers.sink import Sink
from hookline.schedules import Linear


class Notes(Sink):
    """Keeps all that it is told."""

    def __init__(self) -> None:
        self.samples: dict[int, dict] = {}
        self.rows: list[tuple[int, dict]] = []
        self.opened: list = []
        self.resumed: list = []

    def open(self, job, resumed):
        self.opened.append((job, resumed))

    def write(self, numbers, step):
        self.samples[step] = dict(numbers)

    def write_row(self, numbers, step, history):
        self.rows.append((step, dict(history[-1])))
        assert numbers.items() <= history[-1].items()

    def state_dict(self):
        return {"samples": len(self.samples)}

    def resume(self, state, step, history):
        self.resumed.append((state, step, [dict(row) for row in history]))


class Broken(Sink):
    """Fails whatever it is asked for."""

    def fail(self, *arguments):
        raise OSError("no connection")

    open = write = write_row = close = fail


def run(tmp_path, sinks: dict[str, Sink], *hooks: Hook, interval: int = 4, **options):
    logger = LogHook(sinks, interval)
    runner = toy_runner(TrainMetricsHook(), EvaluationHook(), *hooks, logger, job=Job(tmp_path), **options)
    runner.run()
    return runner


def test_every_sink_gets_the_same_plain_numbers(tmp_path):
    one, other = Notes(), Notes()
    runner = run(tmp_path, {"one": one, "other": other})
    assert one.samples == other.samples
    assert list(one.samples) == [0, 4, 8, 9]
    for numbers in one.samples.values():
        assert {type(value) for value in numbers.values()} == {float}
        assert {"learning_rate/0", "momentum/0", "train/loss", "time/iter", "time/data"} <= set(numbers)
    assert one.rows == [(row["iterations"] - 1, row) for row in runner.history]
    assert one.opened == [(runner.job, False)]


def test_whatever_is_scheduled_is_sampled_as_the_update_used_it(tmp_path):
    class Look(Hook):
        def before_backward(self, runner):
            used.append(runner.optimizer.param_groups[0]["weight_decay"])

    used: list[float] = []
    logger = LogHook({"notes": (notes := Notes())}, interval=1)
    runner = toy_runner(ScheduleHook(), TrainMetricsHook(), Look(), logger, job=Job(tmp_path))
    runner.optimizer.param_groups[0]["weight_decay"] = 0.1
    runner.schedules["weight_decay"] = Linear(min_value=0.0, by_epoch=False).for_run(runner.clock)
    runner.run()
    assert [numbers["weight_decay/0"] for numbers in notes.samples.values()] == used
    assert len(set(used)) == 10


def test_numbers_of_the_update_are_means_since_the_last_sample(tmp_path):
    class Count(Hook):
        def after_train_iter(self, runner):
            runner.outputs["number"] = torch.tensor(float(runner.clock.iter))

    count = Count()
    count.priority = 0
    run(tmp_path, {"notes": (notes := Notes())}, count)
    assert [numbers["train/number"] for numbers in notes.samples.values()] == [0.0, 2.5, 6.5, 9.0]


def test_a_sink_that_fails_says_so_once_and_stops_nothing(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "hookline"):
        runner = run(tmp_path, {"broken": Broken(), "good": (good := Notes())})
    assert runner.status == "completed"
    assert list(good.samples) == [0, 4, 8, 9]
    (record,) = caplog.records
    assert record.getMessage().startswith("logger.broken failed, training goes on: OSError: no connection")


def test_sinks_go_on_where_they_were(tmp_path):
    first = run(tmp_path, {"notes": Notes()}, max_iters=5)
    run_again = toy_runner(
        TrainMetricsHook(), EvaluationHook(), LogHook({"notes": (notes := Notes())}), job=Job(tmp_path)
    )
    run_again.run(first.state_dict())
    assert notes.opened == [(run_again.job, True)]
    assert notes.resumed == [({"samples": 2}, 5, first.history)]


def test_the_status_file_says_how_far_the_run_is(tmp_path, monkeypatch):
    seen = []

    class Look(Hook):
        priority = 100

        def after_train_iter(self, runner):
            seen.append(json.loads((tmp_path / "status.json").read_text()))

    monkeypatch.setattr("hookline.hooks.log.STATUS_SECONDS", 0)
    run(tmp_path, {}, Look())
    assert {status["status"] for status in seen} == {"running"}
    assert [status["iter"] for status in seen] == [0, 0, 0, 0, 4, 4, 4, 4, 8, 9]
    assert {status["max_iters"] for status in seen} == {10}


@pytest.mark.parametrize("interval", [0, -1, 2.5])
def test_wrong_intervals(interval):
    with pytest.raises(ParameterError, match="interval"):
        LogHook({}, interval)


def test_sinks_of_the_config(runner):
    sink = "+logger.mine._target_=tests.hooks.test_log.Notes"
    made = runner(sink, "logger.interval=5", "runner.max_iters=6", "data.transforms.resize=null")
    made.run()
    (logger,) = [hook for hook in made.hooks if isinstance(hook, LogHook)]
    assert list(logger.sinks) == ["mine"]
    assert list(logger.sinks["mine"].samples) == [0, 5]
    with pytest.raises(
        ConfigError, match=r"logger\.mine\._target_=.*: must name a subclass of hookline\.loggers\.sink\.Sink"
    ):
        runner("+logger.mine._target_=torch.nn.Identity")


def test_a_sink_may_change_what_it_gets(tmp_path):
    class Greedy(Notes):
        def write(self, numbers, step):
            super().write(numbers, step)
            numbers.clear()

    run(tmp_path, {"greedy": Greedy(), "other": (other := Notes())})
    assert all(numbers for numbers in other.samples.values())


def test_without_times_there_are_no_times(tmp_path):
    toy_runner(LogHook({"notes": (notes := Notes())}, interval=1), job=Job(tmp_path)).run()
    assert set().union(*notes.samples.values()) == {"learning_rate/0", "momentum/0"}


class StopAt(Hook):
    """Ends the run once a row was recorded."""

    priority = 70

    def __init__(self, stage: str, epoch: int) -> None:
        self.epoch = epoch
        setattr(type(self), stage, lambda self, runner: runner.clock.epoch >= self.epoch and runner.stop("enough"))


@pytest.mark.parametrize(("stage", "epoch"), [("after_record", 4), ("after_train_epoch", 3)])
def test_a_run_that_is_stopped_late_is_evaluated_and_sampled_at_its_end(tmp_path, stage, epoch):
    stop = type("Stop", (StopAt,), {})(stage, epoch)
    logger = LogHook({"notes": (notes := Notes())}, interval=7)
    runner = toy_runner(TrainMetricsHook(), EvaluationHook(5), stop, logger, job=Job(tmp_path), max_epochs=9)
    runner.run()
    assert (runner.status, runner.clock.epoch) == ("stopped", 4)
    assert [row["epoch"] for row in runner.history if "val/top1" in row] == [4]
    assert runner.best["epoch"] == 4
    assert list(notes.samples) == [0, 7, 14, 19]
    assert "val/top1" in notes.rows[-1][1]
