"""The phases of a run: training epochs, and val epochs that only measure."""

from __future__ import annotations

import pytest
import torch
from tests.toy import timeless, toy_runner

from hookline.checkpoint import CheckpointFolder
from hookline.config.errors import ParameterError
from hookline.hooks import Hook
from hookline.hooks.checkpoint import CheckpointHook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.job import Job


class Notes(Hook):
    """Notes the epochs of each mode that it sees, and how often an iteration of each came."""

    def __init__(self) -> None:
        self.epochs: list[str] = []
        self.iters = {"train": 0, "val": 0}

    def before_epoch(self, runner):
        self.epochs.append(runner.mode)

    def after_iter(self, runner):
        self.iters[runner.mode] += 1


@pytest.mark.parametrize(
    ("workflow", "epochs"),
    [
        ([("train", 1)], ["train"] * 4),
        ([("train", 1), ("val", 1)], ["train", "val"] * 4),
        ([("train", 2), ("val", 1)], ["train", "train", "val"] * 2),
        ([("train", 3), ("val", 2)], ["train"] * 3 + ["val"] * 2 + ["train"]),
        ([("val", 1), ("train", 2)], ["val", "train", "train"] * 2 + ["val"]),
    ],
)
def test_the_order_of_the_phases(workflow, epochs):
    runner = toy_runner(notes := Notes(), workflow=workflow, max_epochs=4)
    runner.run()
    assert notes.epochs == epochs
    assert notes.iters == {"train": 20, "val": 5 * epochs.count("val")}
    assert (runner.clock.epoch, runner.clock.iter) == (4, 20)


def test_val_epochs_change_no_weights_and_report_the_loss():
    plain, mixed = (toy_runner(workflow=w) for w in ([("train", 1)], [("train", 1), ("val", 1)]))
    plain.run()
    mixed.run()
    assert torch.equal(plain.model[1].weight, mixed.model[1].weight)
    assert all("val/loss" in row for row in mixed.history)
    assert not any("val/loss" in row for row in plain.history)


def test_val_epochs_and_the_evaluation_hook_measure_the_same():
    hook, phase = toy_runner(EvaluationHook()), toy_runner(workflow=[("train", 1), ("val", 1)])
    hook.run()
    phase.run()
    assert [timeless(row) for row in hook.history] == [timeless(row) for row in phase.history]
    both = toy_runner(notes := Notes(), EvaluationHook(), workflow=[("train", 1), ("val", 1)])
    both.run()
    assert notes.epochs == ["train", "val", "val"] * 2


@pytest.mark.parametrize(
    "workflow",
    [[], [("val", 1)], [("test", 1)], [("train", 0)], [("train", 1.5)], [("train",)], "train", 5, [("train", True)]],
)
def test_wrong_workflows(workflow):
    with pytest.raises(ParameterError, match="workflow"):
        toy_runner(workflow=workflow)


@pytest.mark.parametrize("workflow", [[("train", 2), ("val", 1)], [("train", 1), ("val", 2)]])
def test_a_run_goes_on_in_any_phase(workflow, tmp_path):
    def run(folder, *hooks: Hook):
        checkpoints = CheckpointHook(interval=1, max_keep_ckpts=-1)
        return toy_runner(
            TrainMetricsHook(),
            checkpoints,
            *hooks,
            workflow=workflow,
            max_epochs=4,
            monitor="val/loss",
            job=Job(folder),
        )

    whole = run(tmp_path / "whole", every := Every())
    whole.run()
    assert len(every.states) >= 24
    for number, state in enumerate(every.states):
        rest = run(tmp_path / f"{number}", notes := Notes())
        rest.run(state)
        assert torch.equal(rest.model[1].weight, whole.model[1].weight)
        assert [timeless(row) for row in rest.history] == [timeless(row) for row in whole.history], number
        assert timeless(rest.best) == timeless(whole.best)
        assert rest.clock.phase == whole.clock.phase
    assert notes.epochs == []
    assert CheckpointFolder(tmp_path / "whole" / "checkpoints").newest() is not None


class Every(Hook):
    """Keeps every state."""

    def __init__(self) -> None:
        self.states: list[dict] = []

    def between_updates(self, runner):
        import copy

        self.states.append(copy.deepcopy(runner.state_dict()))


def test_the_workflow_of_the_command_line(train):
    arguments = ("runner.max_epochs=2", "data.transforms.resize=null", "data.batch_size=480")
    finished = train(*arguments, "runner.workflow=[[train,1],[val,1]]", "evaluation.interval=9")
    assert finished.status == 0, finished.err
    assert (finished.run_dir / "metrics.csv").read_text().count("\n") == 3
    wrong = train(*arguments, "runner.workflow=[[val,1]]")
    assert wrong.status == 2
    assert wrong.err.startswith("error: runner.workflow=")
    without = train(*arguments, "runner.workflow=[[train,1],[val,1]]", "evaluation=none")
    assert without.status == 2
    assert "without val where the run has no evaluation" in without.err


@pytest.mark.parametrize(
    ("options", "iterations"),
    [
        ({"interval": 2}, [10, 20, 25]),
        ({"interval": 1, "start": 3}, [15, 20, 25]),
        ({"interval": 2, "start": 1}, [5, 15, 25]),
        ({"interval": 2, "start": 0}, [0, 10, 20, 25]),
        ({"interval": 4, "by_epoch": False}, [4, 8, 12, 16, 20, 24, 25]),
        ({"interval": 10, "by_epoch": False, "start": 3}, [3, 13, 23, 25]),
        ({"interval": 9, "by_epoch": False, "start": 0}, [0, 9, 18, 25]),
        ({"interval": 99}, [25]),
    ],
)
def test_when_the_evaluation_hook_measures(options, iterations):
    runner = toy_runner(EvaluationHook(**options), max_epochs=5)
    runner.run()
    assert [row["iterations"] for row in runner.history if "val/top1" in row] == iterations
    rows = [row for row in runner.history if "val/top1" in row]
    assert [row["epoch"] for row in rows] == pytest.approx([i / 5 for i in iterations])


@pytest.mark.parametrize("options", [{"interval": 0}, {"start": -1}, {"by_epoch": 1}])
def test_wrong_options_of_the_evaluation(options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        EvaluationHook(**options)
