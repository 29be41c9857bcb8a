"""The default hooks, one by one."""

from __future__ import annotations

import csv
import math
import os

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.toy import toy_data, toy_runner

from hookline.engine import MetricBuffer, Window
from hookline.engine.update import OptimizerHook
from hookline.hooks import Hook
from hookline.hooks.checkpoint import CheckpointHook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.lr_curve import LRCurveHook
from hookline.hooks.schedule import ScheduleHook
from hookline.hooks.text import TextHook
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.loggers.metrics_csv import MetricsCSVHook
from hookline.loggers.tensorboard import TensorBoardHook
from hookline.schedules import Cosine


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    """Return TensorBoard's view of a run: by tag, (step, value) pairs."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


class Notebook(Hook):
    """Notes LR and loss as the update used them."""

    def __init__(self):
        self.lr, self.loss = [], []

    def after_train_iter(self, runner):
        self.lr.append([group["lr"] for group in runner.optimizer.param_groups])
        self.loss.append((runner.outputs["loss"].item(), len(runner.batch[1])))


def test_schedule_drives_every_group_from_its_own_base():
    notes = Notebook()
    runner = toy_runner(ScheduleHook(), notes, OptimizerHook())
    weight, bias = runner.model.parameters()
    runner.optimizer = torch.optim.SGD([{"params": [weight], "lr": 0.5}, {"params": [bias]}], lr=0.1)
    runner.schedules["lr"] = Cosine(min_value=0, by_epoch=False)
    runner.run()
    expected = [[b * (1 + math.cos(math.pi * i / 10)) / 2 for b in (0.5, 0.1)] for i in range(10)]
    assert notes.lr == [pytest.approx(row) for row in expected]
    assert [group["initial_lr"] for group in runner.optimizer.param_groups] == [0.5, 0.1]


@pytest.mark.parametrize("interval", [1, 3, 10, 100])
def test_tensorboard(tmp_path, interval):
    notes = Notebook()
    hooks = [ScheduleHook(), OptimizerHook(), TrainMetricsHook(), EvaluationHook(), TensorBoardHook(interval), notes]
    runner = toy_runner(*hooks, data=toy_data(samples=23), work_dir=tmp_path)
    runner.schedules["lr"] = Cosine(min_value_ratio=0.1, by_epoch=False)
    runner.run()
    got = scalars(tmp_path / "tensorboard")
    steps = sorted({*range(0, 12, interval), 11})
    assert [step for step, _ in got["learning_rate/0"]] == steps
    assert [value for _, value in got["learning_rate/0"]] == pytest.approx([notes.lr[s][0] for s in steps], rel=1e-6)
    assert [value for _, value in got["momentum/0"]] == pytest.approx([0.9] * len(steps))
    assert [step for step, _ in got["train/loss"]] == steps
    since = 0
    for step, value in got["train/loss"]:
        window = notes.loss[since : step + 1]
        assert value == pytest.approx(sum(loss * n for loss, n in window) / sum(n for _, n in window), rel=1e-5)
        since = step + 1
    for tag in ("time/iter", "time/data", "throughput/images_per_second"):
        assert [step for step, _ in got[tag]] == steps
        assert all(value > 0 for _, value in got[tag])
    for tag in ("val/loss", "val/top1", "val/top5"):
        assert [step for step, _ in got[tag]] == [5, 11]
    assert got["val/top1"][-1][1] == pytest.approx(runner.metrics.latest["val/top1"])


@pytest.mark.parametrize("classes", [3, 7])
def test_evaluation_counts_every_sample(classes):
    runner = toy_runner(EvaluationHook(), data=toy_data(samples=21, classes=classes), classes=classes)
    runner.val_epoch()
    images, labels = (torch.cat(parts) for parts in zip(*runner.data.val_loader, strict=True))
    assert len(labels) == 21
    logits = runner.model(images)
    top = logits.topk(min(5, classes), dim=1).indices == labels.view(-1, 1)
    latest = runner.metrics.latest
    assert latest["val/top1"] == pytest.approx(100 * top[:, 0].float().mean().item(), abs=1e-3)
    assert latest["val/top5"] == pytest.approx(100 * top.any(1).float().mean().item(), abs=1e-3)
    assert latest["val/loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)


@pytest.mark.parametrize(("interval", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])])
def test_evaluation_interval(interval, epochs):
    runner = toy_runner(TrainMetricsHook(), EvaluationHook(interval), max_epochs=5)
    runner.run()
    assert [row["epoch"] for row in runner.history if "val/top1" in row] == epochs


@pytest.mark.parametrize(("monitor", "rule", "best"), [("val/top1", "max", 2), ("val/loss", "min", 3)])
def test_best(monitor, rule, best, monkeypatch):
    hook = EvaluationHook(monitor=monitor, rule=rule)
    runner = toy_runner(hook, max_epochs=4)
    planned = iter([(10, 2.0), (30, 1.5), (30, 1.0), (20, 1.0)])

    class Fixed:
        def __init__(self, value):
            self.compute = lambda: torch.tensor(value)

    def fake_epoch():
        top1, loss = next(planned)
        hook._loss = Fixed(loss)
        hook._accuracy = {k: Fixed(top1 / 100) for k in (1, 5)}
        hook.after_val_epoch(runner)

    monkeypatch.setattr(runner, "val_epoch", fake_epoch)
    runner.run()
    assert runner.best["epoch"] == best


def test_train_loss_of_an_epoch_is_weighted_by_batch(tmp_path):
    notes = Notebook()
    runner = toy_runner(OptimizerHook(), TrainMetricsHook(), notes, data=toy_data(samples=18), max_epochs=1)
    runner.run()
    assert [n for _, n in notes.loss] == [4, 4, 4, 4, 2]
    expected = sum(loss * n for loss, n in notes.loss) / 18
    assert runner.history[0]["train/loss"] == pytest.approx(expected)
    assert runner.history[0]["throughput/images_per_second"] > 0


def test_metrics_csv(tmp_path):
    hooks = [OptimizerHook(), TrainMetricsHook(), EvaluationHook(2), MetricsCSVHook()]
    runner = toy_runner(*hooks, work_dir=tmp_path, max_epochs=3)
    runner.run()
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [bool(row["val/top1"]) for row in rows] == [False, True, True]
    assert [float(row["train/loss"]) for row in rows] == [row["train/loss"] for row in runner.history]


def test_checkpoints_open_safely_and_hold_the_weights(tmp_path):
    hooks = [OptimizerHook(), TrainMetricsHook(), EvaluationHook(), CheckpointHook()]
    runner = toy_runner(*hooks, work_dir=tmp_path, max_epochs=3, config="seed: 0\n")
    runner.run()
    last = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    assert (last["epoch"], last["iter"], last["config"]) == (3, 15, "seed: 0\n")
    for name, value in runner.model.state_dict().items():
        assert torch.equal(last["model"][name], value)
    assert last["optimizer"]["state"][0]["momentum_buffer"].shape == (3, 4)
    best = torch.load(tmp_path / "checkpoints" / "best.pt", weights_only=True)
    assert best["epoch"] == runner.best["epoch"]
    assert best["metrics"]["val/top1"] == runner.best["val/top1"]


def test_a_checkpoint_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    runner = toy_runner(OptimizerHook(), TrainMetricsHook(), CheckpointHook(), work_dir=tmp_path, max_epochs=1)
    runner.run()
    path = tmp_path / "checkpoints" / "last.pt"
    before = path.read_bytes()

    def disk_full(state, path):
        path.write_bytes(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(OSError, match="no space"):
        runner.call("after_train_epoch")
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["last.pt"]


def test_lr_curve_is_drawn(tmp_path):
    runner = toy_runner(ScheduleHook(), OptimizerHook(), hook := LRCurveHook(), work_dir=tmp_path)
    runner.schedules["lr"] = Cosine(min_value=0, by_epoch=False)
    runner.run()
    assert (tmp_path / "lr_curve.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert list(hook._lr["0"]) == [0.1 * (1 + math.cos(math.pi * i / 10)) / 2 for i in range(10)]


def test_plain_lines_off_a_terminal(caplog):
    caplog.set_level("INFO", "hookline")
    runner = toy_runner(OptimizerHook(), TrainMetricsHook(), EvaluationHook(), TextHook(interval=2))
    runner.run()
    lines = [record.getMessage() for record in caplog.records]
    assert sum("iter " in line for line in lines) == 5
    assert any(line.startswith("epoch 1/2  iter 4/10  loss ") and "eta" in line for line in lines)
    last = next(line for line in lines if line.startswith("epoch 2/2  lr"))
    assert all(part in last for part in ("train/loss", "val/loss", "val/top1", "val/top5", "images/s"))
    assert not any(c < " " for line in lines for c in line)


def test_windows_of_one_buffer_are_independent():
    buffer = MetricBuffer()
    first, second = Window(buffer), Window(buffer)
    buffer.add("loss", torch.tensor(2.0), 3)
    assert (first.mean("loss"), second.mean("loss")) == (2.0, 2.0)
    first.advance("loss")
    buffer.add("loss", 5.0, 1)
    assert (first.mean("loss"), second.mean("loss")) == (5.0, 2.75)
    assert math.isnan(first.mean("nothing"))


@pytest.mark.cuda
def test_buffer_on_the_device_is_exact_and_bounded():
    buffer = MetricBuffer()
    for i in range(1000):
        buffer.add("loss", torch.tensor(float(i), device="cuda"), 2)
    assert len(buffer._pending["loss"]) < buffer.FOLD
    assert buffer.total("loss") == (999 * 1000, 2000)
