"""What the groups `logger`, `evaluation`, `checkpoint` and `update` choose, classes of one's own included."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
import torch
from tests.commands.event_files import scalars
from tests.conftest import thinned

from hookline.checkpoint import read
from hookline.experiment import build_runner
from hookline.job import Job

SHORT = ["data.transforms.resize=null", "data.batch_size=480", "runner.max_epochs=2"]

OWN = """
import json
from pathlib import Path

import torch

from hookline.engine import Update
from hookline.loggers.sink import Sink


class Lines(Sink):
    \"\"\"Writes a line for whatever it is told.\"\"\"

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self, job, resumed) -> None:
        self.path = job.directory / self.name
        self.tell("open", resumed)

    def write(self, numbers, step) -> None:
        self.tell("write", step, sorted(numbers))

    def write_row(self, numbers, step, history) -> None:
        self.tell("row", step, history[-1]["epoch"])

    def close(self, status) -> None:
        self.tell("close", status)

    def tell(self, *words) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(words) + "\\n")


class Full(Sink):
    \"\"\"Has no room left.\"\"\"

    def write(self, numbers, step) -> None:
        raise OSError("no space left on device")


class Errors:
    \"\"\"The share of samples that are wrong, in percent, as `error`.\"\"\"

    def reset(self) -> None:
        self.wrong, self.count = 0, 0

    def update(self, outputs, batch) -> None:
        self.wrong += int((outputs["logits"].argmax(1) != batch.targets).sum())
        self.count += len(batch)

    def compute(self) -> dict[str, float]:
        return {"error": 100 * self.wrong / self.count}


class SignUpdate(Update):
    \"\"\"Takes the gradients by their signs, times `size`.\"\"\"

    def __init__(self, *, size: float, **options) -> None:
        super().__init__(**options)
        self.size = size

    def __call__(self, batch, before_backward=None):
        self.optimizer.zero_grad()
        loss = self.loss(logits := self.forward(batch.images), batch.targets)
        loss.backward()
        for parameter in self.model.parameters():
            parameter.grad = self.size * parameter.grad.sign()
        self.optimizer.step()
        return {"loss": loss, "logits": logits, "size": torch.tensor(self.size)}
"""


@pytest.fixture
def short(train, tmp_path, monkeypatch):
    """Return a function that trains for two epochs of three iterations, with the module `own` to name classes of."""
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)

    def run(*arguments: str):
        finished = train(*SHORT, *arguments)
        assert finished.status == 0, finished.err
        return finished

    yield run
    sys.modules.pop("own", None)


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "metrics.csv").open()))


@pytest.mark.parametrize(
    ("logger", "wanted"),
    thinned(
        [
            ("logger=[tensorboard]", {"tensorboard"}),
            ("logger=tensorboard", {"tensorboard"}),
            ("logger=csv", {"metrics.csv"}),
            ("logger=none", set()),
            ("logger=[csv,tensorboard]", {"metrics.csv", "tensorboard"}),
            ("logger.csv=null", {"tensorboard"}),
            ("logger.tensorboard=null", {"metrics.csv"}),
        ]
    ),
)
def test_loggers(logger, wanted, short):
    finished = short(logger, "logger.interval=2", "checkpoint=none")
    files = {path.name for path in finished.run_dir.iterdir()}
    assert files & {"metrics.csv", "tensorboard"} == wanted
    assert files >= {"result.json", "status.json", "train.log", "lr_curve.png"}
    if "metrics.csv" in wanted:
        assert [row["epoch"] for row in rows(finished.run_dir)] == ["1", "2"]
    if "tensorboard" in wanted:
        found = scalars(finished.run_dir / "tensorboard")
        assert [step for step, _ in found["learning_rate/base"]] == [0, 2, 4, 5]
        assert [step for step, _ in found["val/top1"]] == [2, 5]


def test_no_evaluation(short):
    finished = short("evaluation=none")
    assert not any(name.startswith("val") for name, value in rows(finished.run_dir)[-1].items() if value)
    assert not any(tag.startswith("val") for tag in scalars(finished.run_dir / "tensorboard"))
    assert finished.result["monitor"] == "train/loss"
    assert finished.result["best"]["train/loss"] == min(float(row["train/loss"]) for row in rows(finished.run_dir))
    assert set(finished.result["final"]) == {"train/loss"}
    assert (finished.run_dir / "checkpoints" / "best.pt").exists()
    assert "done: train/loss" in finished.out


def test_no_checkpoints(short):
    finished = short("checkpoint=none")
    assert not (finished.run_dir / "checkpoints").exists()
    assert finished.result["best"]["val/top1"] > 0


@pytest.mark.parametrize(
    ("setting", "files"),
    thinned(
        [
            ("checkpoint.save_best=false", {"last.pt", "iter_00000006.pt"}),
            ("checkpoint.max_keep_ckpts=-1", {"last.pt", "best.pt", "iter_00000003.pt", "iter_00000006.pt"}),
        ],
        2,
    ),
)
def test_which_checkpoints(setting, files, short):
    assert {path.name for path in (short(setting).run_dir / "checkpoints").iterdir()} == files


def test_a_sink_of_ones_own(short):
    finished = short("+logger.mine._target_=own.Lines", "+logger.mine.name=told.txt", "logger.interval=4")
    told = [json.loads(line) for line in (finished.run_dir / "told.txt").read_text().splitlines()]
    assert [(what, first) for what, first, *_ in told] == [
        ("open", False),
        *[("write", 0), ("row", 2), ("write", 4), ("write", 5), ("row", 5)],
        ("close", "completed"),
    ]
    assert [epoch for what, _, *epoch in told if what == "row"] == [[1], [2]]
    sampled = {"learning_rate/base", "momentum/base", "train/loss", "time/iter", "throughput/images_per_second"}
    assert all(sampled <= set(rest[0]) for what, _, *rest in told if what == "write")
    assert {"metrics.csv", "tensorboard"} <= {path.name for path in finished.run_dir.iterdir()}


def test_a_sink_that_fails_says_so_once_and_stops_nothing(short):
    finished = short("+logger.mine._target_=own.Full", "logger.interval=1")
    assert finished.result["status"] == "completed"
    assert finished.out.count("logger.mine failed, training goes on: OSError: no space left on device") == 1
    assert len(rows(finished.run_dir)) == 2


def test_a_metric_of_ones_own(short):
    finished = short("+evaluation.metrics.mine._target_=own.Errors", "evaluation.monitor=val/error")
    table = rows(finished.run_dir)
    for row in table:
        assert float(row["val/error"]) == pytest.approx(100 - float(row["val/top1"]), abs=1e-4)
    assert finished.result["best"]["val/error"] == min(float(row["val/error"]) for row in table)
    assert [step for step, _ in scalars(finished.run_dir / "tensorboard")["val/error"]] == [2, 5]


def test_only_the_metrics_that_are_left(short):
    finished = short("evaluation.metrics.top5=null", "evaluation.metrics.top1.k=3", "evaluation.monitor=val/top3")
    assert set(finished.result["final"]) == {"train/loss", "val/loss", "val/top3"}


def test_an_update_of_ones_own(short, config, tmp_path):
    plain = ["optimizer.lr=0.01", "optimizer.momentum=0", "optimizer.nesterov=false", "optimizer.weight_decay=0"]
    arguments = ["update._target_=own.SignUpdate", "+update.size=0.5", "lr_schedule=fixed", *plain]
    finished = short(*arguments, "logger.interval=1")
    assert [value for _, value in scalars(finished.run_dir / "tensorboard")["train/size"]] == [0.5] * 6
    assert [float(row["train/size"]) for row in rows(finished.run_dir)] == [0.5] * 2
    after = read(finished.run_dir / "checkpoints" / "last.pt")["parts"]["model"]["fc.bias"]
    before = build_runner(config(*SHORT, *arguments), Job(tmp_path)).model.fc.bias
    # Six steps of 0.01 times 0.5, each up or down.
    steps = (after - before.detach().cpu()) / 0.005
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    assert set(steps.round().abs().tolist()) <= {0, 2, 4, 6}
    assert steps.abs().max() >= 2
