"""The default hooks, one by one."""

from __future__ import annotations

import csv
import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.toy import toy_loader, toy_model, toy_runner

from hookline.charts.lr_curve import draw_lr_curve
from hookline.engine import Sums, Window
from hookline.hooks import Hook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.log import LogHook
from hookline.hooks.lr_curve import LRCurveHook
from hookline.hooks.schedule import ScheduleHook
from hookline.hooks.text import TextHook
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.job import Job
from hookline.loggers.metrics_csv import MetricsCSVSink
from hookline.loggers.tensorboard import TensorBoardSink
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
        self.loss.append((runner.outputs["loss"].item(), len(runner.batch)))


def test_schedule_drives_every_group_from_its_own_base():
    notes = Notebook()
    weight, bias = (model := toy_model()).parameters()
    optimizer = torch.optim.SGD([{"params": [weight], "lr": 0.5}, {"params": [bias]}], lr=0.1)
    runner = toy_runner(ScheduleHook(), notes, model=model, optimizer=optimizer)
    runner.schedules["lr"] = Cosine(min_value=0, by_epoch=False).for_run(runner.clock)
    runner.run()
    expected = [[b * (1 + math.cos(math.pi * i / 10)) / 2 for b in (0.5, 0.1)] for i in range(10)]
    assert notes.lr == [pytest.approx(row) for row in expected]


@pytest.mark.parametrize("interval", [1, 3, 10, 100])
def test_tensorboard(tmp_path, interval):
    notes = Notebook()
    logger = LogHook({"tensorboard": TensorBoardSink()}, interval)
    hooks = [ScheduleHook(), TrainMetricsHook(), EvaluationHook(), logger, notes]
    runner = toy_runner(*hooks, samples=23, job=Job(tmp_path))
    runner.schedules["lr"] = Cosine(min_value_ratio=0.1, by_epoch=False).for_run(runner.clock)
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
    assert got["val/top1"][-1][1] == pytest.approx(runner.history[-1]["val/top1"])


@pytest.mark.parametrize("classes", [3, 7])
def test_evaluation_counts_every_sample(classes):
    runner = toy_runner(samples=21, classes=classes)
    latest = runner.evaluate()
    whole = next(toy_loader(21, classes, batch_size=21).batches(0))
    labels, logits = whole.targets, runner.model(whole.images)
    top = logits.topk(min(5, classes), dim=1).indices == labels.view(-1, 1)
    assert latest["val/top1"] == pytest.approx(100 * top[:, 0].float().mean().item(), abs=1e-3)
    assert latest["val/top5"] == pytest.approx(100 * top.any(1).float().mean().item(), abs=1e-3)
    assert latest["val/loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)


@pytest.mark.parametrize(("interval", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])])
def test_evaluation_interval(interval, epochs):
    runner = toy_runner(EvaluationHook(interval), max_epochs=5)
    runner.run()
    assert [row["epoch"] for row in runner.history if "val/top1" in row] == epochs


@pytest.mark.parametrize(("monitor", "mode", "best"), [("val/top1", "max", 2), ("val/loss", "min", 3)])
def test_best(monitor, mode, best):
    planned = iter([(10, 2.0), (30, 1.5), (30, 1.0), (20, 1.0)])

    class Planned(Hook):
        def after_train_epoch(self, runner):
            runner.log(dict(zip(("val/top1", "val/loss"), next(planned), strict=True)))

    runner = toy_runner(Planned(), max_epochs=4, monitor=monitor, mode=mode)
    runner.run()
    assert runner.best["epoch"] == best


def test_train_loss_of_an_epoch_is_weighted_by_batch():
    notes = Notebook()
    runner = toy_runner(TrainMetricsHook(), notes, samples=18, max_epochs=1)
    runner.run()
    assert [n for _, n in notes.loss] == [4, 4, 4, 4, 2]
    expected = sum(loss * n for loss, n in notes.loss) / 18
    assert runner.history[0]["train/loss"] == pytest.approx(expected)
    assert runner.history[0]["throughput/images_per_second"] > 0


def test_metrics_csv(tmp_path):
    hooks = [TrainMetricsHook(), EvaluationHook(2), LogHook({"csv": MetricsCSVSink()})]
    runner = toy_runner(*hooks, job=Job(tmp_path), max_epochs=3)
    runner.run()
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [bool(row["val/top1"]) for row in rows] == [False, True, True]
    assert [float(row["train/loss"]) for row in rows] == [row["train/loss"] for row in runner.history]


def test_lr_curve_is_drawn(tmp_path, monkeypatch):
    drawn: dict = {}

    def draw(path, **given):
        drawn.update(given)
        draw_lr_curve(path, **given)

    monkeypatch.setattr("hookline.hooks.lr_curve.draw_lr_curve", draw)
    job = Job(tmp_path, overrides=["lr_schedule=cosine", "seed=3"])
    runner = toy_runner(ScheduleHook(), LRCurveHook(), job=job)
    runner.schedules["lr"] = Cosine(min_value=0, by_epoch=False).for_run(runner.clock)
    runner.run()
    assert (tmp_path / "lr_curve.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert list(drawn["lr"]["0"]) == [0.1 * (1 + math.cos(math.pi * i / 10)) / 2 for i in range(10)]
    assert list(drawn["momentum"]["0"]) == [0.9] * 10
    assert drawn["title"] == "lr_schedule=cosine seed=3"


def test_lr_curve_is_written_where_it_changes(tmp_path):
    runner = toy_runner(ScheduleHook(), LRCurveHook(), job=Job(tmp_path))
    runner.schedules["lr"] = Cosine(min_value=0, by_epoch=True).for_run(runner.clock)
    runner.run()
    rows = list(csv.DictReader((tmp_path / "lr_curve.csv").open()))
    assert [(row["iter"], row["epoch"]) for row in rows] == [("0", "0"), ("4", "0"), ("5", "1"), ("9", "1")]
    assert [float(row["lr_0"]) for row in rows] == [0.1, 0.1, 0.05, 0.05]
    assert {row["momentum_0"] for row in rows} == {"0.9"}


def test_plain_lines_off_a_terminal(caplog):
    caplog.set_level("INFO", "hookline")
    runner = toy_runner(TrainMetricsHook(), EvaluationHook(), TextHook(interval=2))
    runner.run()
    lines = [record.getMessage() for record in caplog.records]
    assert sum("iter " in line for line in lines) == 5
    assert any(line.startswith("epoch 1/2  iter 4/10  loss ") and "eta" in line for line in lines)
    last = next(line for line in lines if line.startswith("epoch 2/2  lr"))
    assert all(part in last for part in ("train/loss", "val/loss", "val/top1", "val/top5", "images/s"))
    assert not any(c < " " for line in lines for c in line)


def test_windows_of_the_same_sums_are_independent():
    sums = Sums()
    first, second = Window(sums), Window(sums)
    sums.add("loss", torch.tensor(2.0), 3)
    assert (first.mean("loss"), second.mean("loss")) == (2.0, 2.0)
    first.advance("loss")
    sums.add("loss", 5.0, 1)
    assert (first.mean("loss"), second.mean("loss")) == (5.0, 2.75)
    assert math.isnan(first.mean("nothing"))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_sums_are_exact(device):
    sums = Sums()
    for i in range(1000):
        sums.add("loss", torch.tensor(float(i), device=device), 2)
        sums.tally("skipped", torch.tensor(i % 2 == 0, device=device))
    assert sums.total("loss") == (999 * 1000, 2000)
    assert (Window(sums).value("loss"), Window(sums).value("skipped")) == (499.5, 500)
