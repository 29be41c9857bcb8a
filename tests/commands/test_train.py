"""The main job from the command line: what it reaches, what it leaves, and sweeps."""

from __future__ import annotations

import csv
import json
import logging
import re
from importlib.metadata import version

import pytest
import torch
import yaml
from tests.commands.event_files import scalars
from tests.conftest import thinned, write_idx

from hookline.data.sets.fashion_mnist import DEBIAN, PARTS
from hookline.data.sets.idx import find_idx, read_idx

RUN_FILES = [
    *("checkpoints/best.pt", "checkpoints/last.pt", "lr_curve.png", "metrics.csv"),
    *("result.json", "status.json", "train.log"),
]
AFTER_TRAIN_ITER = {
    **{"train_metrics": "NORMAL", "nonfinite_loss": "BELOW_NORMAL", "evaluation": "BELOW_NORMAL"},
    **{"lr_curve": "VERY_LOW", "text": "VERY_LOW", "logger": "VERY_LOW"},
}
HYDRA_FILES = [".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml"]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_digits_accuracy(train, seed):
    result = train("lr_schedule=cosine", "optimizer=sgd", f"seed={seed}").result
    assert result["final"]["val/top1"] >= 98.5


def test_the_run_directory(train):
    finished = train("runner.max_epochs=2", "logger.interval=5", "lr_schedule.by_epoch=false")
    assert finished.status == 0
    directory, result = finished.run_dir, finished.result
    for name in [*RUN_FILES, *HYDRA_FILES]:
        assert (directory / name).stat().st_size > 0, name

    assert result["status"] == "completed"
    assert (result["epochs"], result["iterations"]) == (2, 46)
    assert set(result["final"]) == {"train/loss", "val/loss", "val/top1", "val/top5"}
    assert result["best"]["epoch"] in (1, 2)
    assert result["seconds"] > 0
    assert result["versions"]["torch"] == version("torch")
    assert "git_commit" in result

    rows = list(csv.DictReader((directory / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["val/top1"]) == result["final"]["val/top1"]
    assert max(float(row["val/top1"]) for row in rows) == result["best"]["val/top1"]

    steps = [*range(0, 46, 5)]
    got = scalars(directory / "tensorboard")
    assert [s for s, _ in got["learning_rate/base"]] == steps
    assert got["learning_rate/base"][0][1] == pytest.approx(0.1)
    assert {"momentum/base", "train/loss", "time/iter", "time/data", "throughput/images_per_second"} < set(got)
    assert [s for s, _ in got["val/top1"]] == [22, 45]

    log = (directory / "train.log").read_text()
    assert "epoch 2/2" in log
    assert "done: val/top1" in log
    last_line = finished.out.strip().splitlines()[-1]
    assert f"val/top1 {result['final']['val/top1']:.2f} %" in last_line
    assert str(directory.relative_to(finished.cwd)) in last_line
    assert "\x1b" not in finished.out
    assert "\r" not in finished.out
    (order,) = re.findall(r"^  after_train_iter +(.*)", log, re.MULTILINE)
    assert order.split(", ") == [f"{hook} ({priority})" for hook, priority in AFTER_TRAIN_ITER.items()]


def test_checkpoints_hold_the_run(train):
    finished = train("runner.max_epochs=1")
    last = torch.load(finished.run_dir / "checkpoints" / "last.pt", weights_only=True)
    assert yaml.safe_load(last["config"])["optimizer"]["_target_"] == "torch.optim.SGD"
    assert last["parts"]["history"]["rows"][-1]["val/top1"] == finished.result["final"]["val/top1"]


def test_weights_of_an_earlier_run(train):
    first = train("runner.max_iters=2")
    assert " % after 0.09 epochs (2 iterations, " in first.out  # of 23 in an epoch
    second = train(f"model.checkpoint_path={first.run_dir}/checkpoints/last.pt", "runner.max_iters=2")
    assert second.status == 0, second.err
    assert re.search(r"last\.pt: (\d+) of \1 tensors loaded$", second.out, re.MULTILINE)


def test_weights_of_a_run_whose_average_was_monitored(train):
    short = ["data.transforms.resize=null", "runner.max_iters=20"]
    first = train("hooks=ema", "hooks.ema.decay=0.9", "evaluation.monitor=val_ema/top1", "optimizer.lr=1", *short)
    reached, best = first.result["best"], first.run_dir / "checkpoints" / "best.pt"
    assert reached["val_ema/loss"] != pytest.approx(reached["val/loss"], rel=1e-3)
    # Nothing moves in this run, so that it measures what it started from.
    second = train(f"model.checkpoint_path={best}", "freeze=backbone", "optimizer.lr=0", *short)
    assert "best.pt, the average hooks.ema: " in second.out
    result = json.loads((second.run_dirs[-1] / "result.json").read_text())
    assert result["final"]["val/loss"] == pytest.approx(reached["val_ema/loss"], rel=1e-4)


def test_the_same_seed_gives_the_same_run(train):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(2):
            finished = train("runner.max_iters=30")
        train("runner.max_iters=30", "seed=1")
    finally:
        torch.set_num_threads(threads)
    losses = [json.loads((d / "result.json").read_text())["final"] for d in finished.run_dirs]
    assert losses[0] == losses[1]
    assert losses[1] != losses[2]


def test_multirun(train):
    finished = train(
        "-m",
        "lr_schedule=cosine",
        "lr_schedule.warmup=constant,linear,exp",
        "lr_schedule.warmup_iters=1,3",
        "lr_schedule.warmup_by_epoch=true",
        "runner.max_epochs=5",
        "data.batch_size=512",
        "data.transforms.resize.size=8",
        "logger.interval=1",
    )
    assert finished.status == 0
    assert len(finished.run_dirs) == 6
    assert "val/top1, higher is better" in finished.out
    assert (finished.run_dirs[0].parent / "report.html").is_file()
    curves = set()
    for directory in finished.run_dirs:
        for name in [*RUN_FILES, *HYDRA_FILES]:
            assert (directory / name).stat().st_size > 0, name
        assert json.loads((directory / "result.json").read_text())["epochs"] == 5
        curves.add(tuple(scalars(directory / "tensorboard")["learning_rate/base"]))
        assert (directory / "train.log").read_text().count("done:") == 1
    assert len(curves) == 6


@pytest.mark.parametrize("optimizer", thinned(["sgd", "adam", "adamw", "rmsprop"]))
@pytest.mark.parametrize("schedule", ["fixed", "step", "cosine"])
def test_optimizers_and_schedules(train, optimizer, schedule):
    finished = train(f"optimizer={optimizer}", f"lr_schedule={schedule}", "runner.max_iters=2", "data.batch_size=8")
    assert finished.result["iterations"] == 2


@pytest.mark.parametrize(
    "model",
    [
        ["model=resnet18"],
        ["model=mobilenetv3_small"],
        pytest.param(["model=efficientnet_b0"], marks=pytest.mark.slow),
        pytest.param(["model=convnext_atto"], marks=pytest.mark.slow),
        pytest.param(["model=vit_tiny", "model.patch_size=4"], marks=pytest.mark.slow),
        pytest.param(["model=swin_tiny", "model.patch_size=2", "model.window_size=4"], marks=pytest.mark.slow),
        pytest.param(["model=regnety_004"], marks=pytest.mark.slow),
        pytest.param(["model=repvgg_a0"], marks=pytest.mark.slow),
        pytest.param(["model=mobilevit_xxs"], marks=pytest.mark.slow),
        ["model=timm", "model.model_name=test_vit", "+model.img_size=32"],
        ["model=torchvision", "model.name=mobilenet_v3_small"],
    ],
    ids=lambda m: " ".join(m),
)
def test_models(train, model):
    finished = train(*model, "runner.max_iters=1", "data.batch_size=4", "data.val_batch_size=180")
    assert finished.status == 0, finished.err
    assert finished.result["iterations"] == 1


def test_a_hook_of_ones_own(train, tmp_path, monkeypatch):
    (tmp_path / "my_hooks.py").write_text(
        "from hookline.hooks import Hook\n"
        "class StopEarly(Hook):\n"
        "    def __init__(self, at):\n"
        "        self.at = at\n"
        "    def after_train_iter(self, runner):\n"
        "        runner.stop_training = runner.clock.iter + 1 == self.at\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    hook = ["+hooks.mine._target_=my_hooks.StopEarly", "+hooks.mine.at=3", "+hooks.mine.priority=LOWEST"]
    finished = train(*hook, "hooks.lr_curve=null")
    assert finished.result["iterations"] == 3
    log = (finished.run_dir / "train.log").read_text()
    assert "mine (LOWEST)" in log
    assert "lr_curve" not in log.partition("hooks, in the order they are called")[2].partition("parameter groups")[0]


def test_an_epoch_without_metrics(train):
    finished = train("runner.max_iters=3", "hooks.train_metrics=null", "evaluation=none", "checkpoint=none")
    assert finished.status == 0, finished.err
    assert finished.result["best"] == {}


def test_bar_on_a_terminal(train, monkeypatch):
    monkeypatch.setattr("hookline.hooks.text.shows_bar", lambda: True)
    finished = train("runner.max_iters=8", "hooks.text.refresh=0.001", "hooks.text.interval=2")
    shown = finished.err.split("\r")
    assert any("| epoch 1/1  iter 4/8  loss" in frame and "images/s  eta" in frame for frame in shown)
    assert "iter 4/8" not in finished.out
    assert "iter 4/8" in (finished.run_dir / "train.log").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_a_slice_of_fashion_mnist(train, tmp_path):
    for part, count in (("train", 6000), ("val", 2000)):
        for name, dims in zip(PARTS[part], (3, 1), strict=True):
            path = find_idx(DEBIAN, name)
            assert path is not None
            write_idx(tmp_path / "slice" / name, read_idx(path, dims)[:count].numpy())
    finished = train(
        "data=fashion_mnist",
        f"data.root={tmp_path}/slice",
        "runner.max_epochs=4",
        "runner.channels_last=true",
        "lr_schedule.by_epoch=false",
    )
    assert finished.result["final"]["val/top1"] >= 80


def test_nothing_is_left_in_the_root_logger(train):
    train("runner.max_iters=1")
    logging.getLogger("somebody.else").debug("not of interest")
    for _ in range(2):
        finished = train("runner.max_iters=1")
    newest = max(finished.run_dirs, key=lambda d: d.stat().st_mtime)
    assert (newest / "train.log").read_text().count("done:") == 1


@pytest.mark.parametrize(("optimizer", "said"), [("rprop", "in its first step only"), ("asgd", "iteration before")])
def test_an_optimizer_that_does_not_follow_its_learning_rate_says_so(optimizer, said, train):
    finished = train(f"optimizer={optimizer}", "runner.max_iters=1", "data.transforms.resize=null", "evaluation=none")
    assert finished.status == 0
    assert said in finished.out
