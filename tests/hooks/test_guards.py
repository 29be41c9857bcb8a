"""Hooks that end a run, or turn it back, because of what they see."""

from __future__ import annotations

import json
import math
import time

import pytest
import torch
from tests.toy import toy_runner

from hookline.checkpoint import read
from hookline.config.errors import ParameterError
from hookline.engine.monitor import WORST_LOSS
from hookline.hooks import Hook, Priority
from hookline.hooks.checkpoint import CheckpointHook
from hookline.hooks.early_stopping import EarlyStoppingHook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.log import LogHook
from hookline.hooks.max_seconds import MaxSecondsHook
from hookline.hooks.nonfinite_loss import NonFiniteLossHook
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.job import Job


class Spoil(Hook):
    """Makes the loss of some iterations NaN, each time or the first time that they come."""

    priority = Priority.HIGHEST

    def __init__(self, *iterations: int, value: float = math.nan, once: bool = False) -> None:
        self.iterations, self.value, self.once = set(iterations), value, once

    def before_backward(self, runner):
        if runner.clock.iter in self.iterations:
            runner.outputs["loss"] = runner.outputs["loss"] * self.value
            if self.once:
                self.iterations.remove(runner.clock.iter)


class Notes(Hook):
    """Notes the learning rate and the iteration of each update."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def after_train_iter(self, runner):
        self.seen.append((runner.clock.iter, runner.optimizer.param_groups[0]["lr"]))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("interval", "end"), [(1, 3), (2, 3), (3, 4), (50, 5)])
def test_a_loss_that_is_not_finite_ends_the_run(value, interval, end):
    runner = toy_runner(Spoil(2, value=value), TrainMetricsHook(), NonFiniteLossHook(interval=interval))
    runner.run()
    assert (runner.status, runner.stop_reason) == ("diverged", "the loss is not finite")
    assert runner.clock.iter == end


@pytest.mark.parametrize("stop_at", [None, 7])
def test_a_run_whose_last_loss_is_not_finite_has_diverged_though_no_hook_watched(stop_at):
    class Stop(Hook):
        def after_train_iter(self, runner):
            if runner.clock.iter == stop_at:
                runner.stop("enough")

    runner = toy_runner(Spoil(6), TrainMetricsHook(), Stop())
    runner.run()
    assert (runner.status, runner.stop_reason) == ("diverged", "the loss is not finite")
    assert runner.clock.iter == (10 if stop_at is None else stop_at + 1)


def test_a_run_that_has_recovered_is_completed():
    class Recovers(Hook):
        def after_train_epoch(self, runner):
            runner.log({"val/loss": 1.0 if runner.clock.epoch else math.nan})

    runner = toy_runner(Recovers())
    runner.run()
    assert runner.status == "completed"


def test_a_diverged_run_keeps_its_last_good_checkpoint(tmp_path):
    hooks = [TrainMetricsHook(), EvaluationHook(), CheckpointHook(interval=1, by_epoch=False)]
    runner = toy_runner(Spoil(7), *hooks, NonFiniteLossHook(), job=Job(tmp_path), max_epochs=4)
    runner.run()
    assert runner.status == "diverged"
    for name in ("last.pt", "best.pt"):
        parts = read(tmp_path / "checkpoints" / name)["parts"]
        assert parts["clock"]["iter"] <= 7
        assert all(value.isfinite().all() for value in parts["model"].values())


def test_a_validation_that_is_not_finite_is_never_the_best_and_ends_the_run(tmp_path):
    class Break(Hook):
        """Makes the weights NaN once the second epoch's updates are over, whose losses were finite."""

        priority = Priority.HIGHEST

        def after_train_epoch(self, runner):
            if runner.clock.epoch == 1:
                with torch.no_grad():
                    runner.model[1].weight.fill_(math.nan)

    hooks = [TrainMetricsHook(), EvaluationHook(), CheckpointHook(), NonFiniteLossHook()]
    runner = toy_runner(Break(), *hooks, job=Job(tmp_path), max_epochs=2)
    runner.run()
    assert (runner.status, runner.best["epoch"]) == ("diverged", 1)
    assert math.isnan(runner.history[-1]["val/loss"])
    assert math.isfinite(runner.history[-1]["train/loss"])
    assert read(tmp_path / "checkpoints" / "last.pt")["parts"]["clock"]["epoch"] == 1


def test_going_back_with_a_lower_learning_rate(tmp_path):
    hooks = [TrainMetricsHook(), EvaluationHook(), CheckpointHook(), LogHook({}), notes := Notes()]
    guard = NonFiniteLossHook("rollback", interval=1, factor=0.1)
    runner = toy_runner(Spoil(7, once=True), *hooks, guard, job=Job(tmp_path), max_epochs=3, lr=0.5)
    # The schedule hook's part: it sets the learning rate anew for each update.
    runner.register_hooks([Constant(0.5)])
    runner.run()
    assert runner.status == "completed"
    assert [i for i, _ in notes.seen] == [*range(8), *range(5, 15)]
    assert [lr for _, lr in notes.seen] == pytest.approx([0.5] * 8 + [0.05] * 10)
    assert [row["epoch"] for row in runner.history] == [1, 2, 3]
    assert all(math.isfinite(value) for row in runner.history for value in row.values())


class Constant(Hook):
    """Sets a learning rate, as a schedule does."""

    priority = Priority.VERY_HIGH

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def before_train_iter(self, runner):
        runner.optimizer.param_groups[0]["lr"] = self.lr


def test_going_back_has_an_end(tmp_path, caplog):
    guard = NonFiniteLossHook("rollback", interval=1, max_rollbacks=2)
    hooks = [Spoil(7), TrainMetricsHook(), CheckpointHook(), guard, notes := Notes()]
    runner = toy_runner(*hooks, job=Job(tmp_path), max_epochs=3)
    runner.run()
    assert runner.status == "diverged"
    assert [i for i, _ in notes.seen].count(7) == 3


def test_nothing_to_go_back_to(tmp_path):
    guard = NonFiniteLossHook("rollback", interval=1)
    runner = toy_runner(Spoil(2), TrainMetricsHook(), guard, job=Job(tmp_path))
    runner.run()
    assert runner.status == "diverged"
    assert "no checkpoint to go back to" in runner.stop_reason


def test_how_often_it_went_back_is_kept(tmp_path):
    def hooks():
        guard = NonFiniteLossHook("rollback", interval=1, factor=0.1)
        guard.name = "guard"
        return [TrainMetricsHook(), CheckpointHook(), Constant(0.5), guard]

    first = toy_runner(Spoil(7, once=True), *hooks(), job=Job(tmp_path), max_epochs=3)
    first.run()
    rest = toy_runner(*hooks(), notes := Notes(), job=Job(tmp_path), max_epochs=4)
    rest.run(read(tmp_path / "checkpoints" / "last.pt"))
    assert [lr for _, lr in notes.seen] == pytest.approx([0.05] * 5)


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_an_update_that_is_not_finite_can_be_left_out(micro_batches):
    update = {"skip_nonfinite": True, "micro_batches": micro_batches}
    spoiled = toy_runner(Spoil(3), TrainMetricsHook(), NonFiniteLossHook(interval=1), update=update, max_epochs=1)
    spoiled.run()
    assert spoiled.status == "completed"
    assert spoiled.history[0]["train/skipped"] == 1
    assert math.isfinite(spoiled.history[0]["train/loss"])
    assert spoiled.history[0]["train/grad_norm"] > 0

    class LeaveOut(Hook):
        def before_train_iter(self, runner):
            self.kept = [p.detach().clone() for p in runner.model.parameters()]
            self.state = {k: dict(v) for k, v in runner.optimizer.state.items()}

        def after_train_iter(self, runner):
            if runner.clock.iter == 3:
                with torch.no_grad():
                    for p, kept in zip(runner.model.parameters(), self.kept, strict=True):
                        p.copy_(kept)

    plain = toy_runner(LeaveOut(), update={"micro_batches": micro_batches}, max_epochs=1, max_iters=None)
    plain.optimizer.param_groups[0]["momentum"] = 0.0
    other = toy_runner(Spoil(3), update=update, max_epochs=1)
    other.optimizer.param_groups[0]["momentum"] = 0.0
    plain.run()
    other.run()
    torch.testing.assert_close(other.model[1].weight, plain.model[1].weight)


def test_leaving_out_changes_nothing_where_all_is_finite():
    runs = [toy_runner(update={"skip_nonfinite": skip}) for skip in (False, True)]
    for runner in runs:
        runner.run()
    assert torch.equal(runs[0].model[1].weight, runs[1].model[1].weight)


@pytest.mark.parametrize(
    "options",
    [{"action": "skip"}, {"interval": 0}, {"factor": 1.0}, {"factor": 0}, {"max_rollbacks": 0}],
)
def test_wrong_options(options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        NonFiniteLossHook(**options)


class Planned(Hook):
    """Logs planned numbers at the ends of epochs."""

    def __init__(self, numbers, name: str = "acc") -> None:
        self.numbers, self.number = numbers, name

    def after_train_epoch(self, runner):
        value = self.numbers[runner.clock.epoch]
        if value is not None:
            runner.log({self.number: value})


@pytest.mark.parametrize(
    ("numbers", "options", "end"),
    [
        ([1, 2, 3, 4, 5, 6], {"patience": 2}, None),
        ([1, 2, 2, 2, 5, 6], {"patience": 2}, 4),
        ([3, 2, 1, 0, 0, 0], {"patience": 3}, 4),
        ([1, 1.05, 1.1, 1.15, 1.2, 1.3], {"patience": 2, "min_delta": 0.1}, 3),
        ([1, 1.05, 1.09, 1.2, 1.2, 1.3], {"patience": 2, "min_delta": 0.1}, 3),
        ([1, math.nan, math.nan, 2, 3, 4], {"patience": 2}, 3),
        ([1, None, None, 1, None, 1], {"patience": 2}, 6),
        ([3, 2, 2, 2, 1, 0], {"patience": 2, "monitor": "acc", "mode": "min"}, 4),
    ],
)
def test_early_stopping(numbers, options, end):
    runner = toy_runner(Planned(numbers), EarlyStoppingHook(**options), max_epochs=6, monitor="acc")
    runner.run()
    assert runner.clock.epoch == (end or 6)
    assert runner.status == ("stopped" if end and end < 6 else "completed")
    if runner.status == "stopped":
        assert "acc has not improved" in runner.stop_reason


def test_early_stopping_follows_from_the_history_alone():
    numbers = [1, 2, 2, 2, 2, 2]
    whole = toy_runner(Planned(numbers), EarlyStoppingHook(patience=3), max_epochs=6, monitor="acc")
    whole.run()
    first = toy_runner(Planned(numbers), EarlyStoppingHook(patience=3), max_epochs=3, monitor="acc")
    first.run()
    rest = toy_runner(Planned(numbers), EarlyStoppingHook(patience=3), max_epochs=6, monitor="acc")
    rest.run(first.state_dict())
    assert rest.history == whole.history
    assert (rest.status, rest.clock.epoch) == (whole.status, whole.clock.epoch) == ("stopped", 5)


def test_a_limit_of_time_counts_all_parts_of_a_run():
    class Slow(Hook):
        def after_train_iter(self, runner):
            time.sleep(0.02)

    first = toy_runner(Slow(), MaxSecondsHook(0.3), max_epochs=1)
    first.run()
    assert first.status == "completed"
    rest = toy_runner(Slow(), MaxSecondsHook(0.3), max_epochs=100)
    rest.run(first.state_dict())
    assert (rest.status, rest.stop_reason) == ("stopped", "0.3 seconds are over")
    assert rest.clock.iter <= 15


def test_a_diverged_run_of_the_command_line(train, run_task):
    from hookline.commands.train import train as task

    scores = []
    arguments = ("optimizer.lr=1e9", "data.transforms.resize=null", "runner.max_epochs=2", "data.batch_size=200")
    finished = run_task(lambda cfg: scores.append(task(cfg)), "train", *arguments)
    assert finished.status == 0
    assert "diverged (the loss is not finite)" in finished.out.splitlines()[-1]
    assert finished.result["status"] == "diverged"
    assert json.loads((finished.run_dir / "status.json").read_text())["status"] == "diverged"
    assert scores == [0.0]


@pytest.mark.parametrize(("monitor", "mode", "score"), [("val/loss", "null", WORST_LOSS), ("val/top1", "null", 0.0)])
def test_the_score_of_a_diverged_run_is_bad(monitor, mode, score, run_task):
    from hookline.commands.train import train as task

    scores = []
    arguments = ("optimizer.lr=1e9", "data.transforms.resize=null", "runner.max_epochs=1", "data.batch_size=200")
    run_task(lambda cfg: scores.append(task(cfg)), "train", *arguments, f"evaluation.monitor={monitor}")
    assert scores == [score]
