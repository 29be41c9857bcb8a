"""A user's mistake ends in one message that names key, value and what is valid, with status 2 and no stack trace."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT, thinned

from hookline.commands.app import explain

CASES = {
    # arguments: what the message must hold
    "unknown option": (["lr_schedule=cosin"], ["lr_schedule=cosin", "'cosine'"]),
    "unknown model option": (["model=resnet81"], ["model=resnet81", "'resnet18'"]),
    "unknown group": (["optimiser=sgd"], ["optimiser", "'optimizer'"]),
    "unknown key": (["lr_schedule.warmpu=linear"], ["lr_schedule.warmpu", "'warmup'"]),
    "unknown nested key": (["hooks.text.intervall=1"], ["hooks.text.intervall", "'interval'"]),
    "unknown key of an own group": (["logger.intervall=1"], ["logger.intervall", "'interval'"]),
    "unknown root key": (["sed=1"], ["sed", "'seed'"]),
    "key of another group": (["lr=0.1"], ["lr: there", "'optimizer.lr'", "experiment"]),
    "part of a key of another group": (["epochs=3"], ["epochs: there", "'runner.max_epochs'"]),
    "option in capitals": (["optimizer=SGD"], ["optimizer=SGD", "'sgd'"]),
    "added unknown argument": (
        ["+optimizer.momentun=0.9"],
        ["optimizer.momentun=0.9", "'momentum'", "torch.optim.SGD"],
    ),
    "key of an option without any": (
        ["distributed=none", "distributed.processes=2"],
        ["distributed.processes: there is no such key: the option of distributed that is chosen has none"],
    ),
    "not key=value": (["lr_schedule"], ["lr_schedule"]),
    "unknown timm model": (["model=timm", "model.model_name=resnet19"], ["model.model_name=resnet19", "'resnet18'"]),
    "timm model not given": (["model=timm"], ["model.model_name"]),
    "unknown torchvision model": (["model=torchvision", "model.name=resnet19"], ["model.name=resnet19", "'resnet18'"]),
    "argument the model refuses": (["+model.blocks=3"], ["model", "blocks"]),
    "schedule type": (["lr_schedule.warmup_ratio=much"], ["lr_schedule.warmup_ratio=much", "a number > 0 and <= 1"]),
    "schedule range": (["lr_schedule.warmup_ratio=1.5"], ["lr_schedule.warmup_ratio=1.5", "> 0 and <= 1"]),
    "warm-up shape": (["lr_schedule.warmup=quadratic"], ["lr_schedule.warmup=quadratic", "linear"]),
    "warm-up without length": (["lr_schedule.warmup=linear"], ["lr_schedule.warmup_iters=0", "> 0"]),
    "negative floor": (["lr_schedule.min_lr=-1"], ["lr_schedule.min_lr=-1", ">= 0"]),
    "both floors": (["lr_schedule.min_lr=0", "lr_schedule.min_lr_ratio=0.1"], ["min_lr", "min_lr_ratio", "both"]),
    "neither floor": (["lr_schedule.min_lr=null"], ["min_lr", "min_lr_ratio", "neither"]),
    "step": (["lr_schedule=step", "lr_schedule.step=[5,3]"], ["lr_schedule.step=[5, 3]", "increasing"]),
    "both lengths": (["runner.max_epochs=1", "runner.max_iters=1"], ["runner.max_epochs=1", "max_iters", "both"]),
    "no length": (["runner.max_epochs=0"], ["runner.max_epochs=0", "> 0"]),
    "length type": (["runner.max_epochs=many"], ["runner.max_epochs=many", "an integer"]),
    "device": (["runner.device=tpu"], ["runner.device=tpu", "cuda"]),
    "precision": (["runner.precision=fp8"], ["runner.precision=fp8", "bf16"]),
    "target import": (["optimizer._target_=torch.optim.SDG"], ["optimizer._target_=torch.optim.SDG", "imported"]),
    "target module": (["model._target_=no_such_package.Net"], ["model._target_=no_such_package.Net", "imported"]),
    "optimizer type": (["optimizer.lr=fast"], ["optimizer.lr=fast", "must be a number"]),
    "optimizer range": (["optimizer.lr=-1"], ["optimizer", "-1"]),
    "batch size": (["data.batch_size=0"], ["data.batch_size=0", "> 0"]),
    "random validation": (
        ["+data.transforms.flip._target_=hookline.data.RandomHorizontalFlip"],
        ["data.transforms.flip", "train_transforms"],
    ),
    "too few classes": (["model.num_classes=5"], ["model.num_classes=5", "10"]),
    "label smoothing": (["loss.label_smoothing=2"], ["loss", "label_smoothing"]),
    "priority": (["hooks.text.priority=FIRST"], ["hooks.text.priority=FIRST", "VERY_HIGH"]),
    "hook interval": (["hooks.text.interval=0"], ["hooks.text.interval=0", "> 0"]),
    "logger interval": (["logger.interval=0"], ["logger.interval=0", "> 0"]),
    "evaluation interval": (["evaluation.interval=0"], ["evaluation.interval=0", "> 0"]),
    "monitor without a direction": (["evaluation.monitor=time/epoch"], ["evaluation.mode=null", "time/epoch"]),
    "unknown direction": (["evaluation.mode=up"], ["evaluation.mode=up", "min, max"]),
    "metric's parameter": (["evaluation.metrics.top1.k=0"], ["evaluation.metrics.top1.k=0", "> 0"]),
    "micro-batches": (["update.micro_batches=0"], ["update.micro_batches=0", "> 0"]),
    "unknown way to clip": (["+update.grad_clip.max_nrom=1"], ["update.grad_clip.max_nrom=1", "'max_norm'"]),
    "two ways to clip": (
        ["update.grad_clip.max_norm=1", "update.grad_clip.value=1"],
        ["update.grad_clip.value=1", "null where max_norm is given"],
    ),
    "checkpoint's parameter": (["checkpoint.save_last=maybe"], ["checkpoint.save_last=maybe", "true or false"]),
    "no hook": (["+hooks.mine._target_=torch.nn.Identity"], ["hooks.mine", "hookline.hooks.Hook"]),
    "no sink": (["+logger.mine._target_=torch.nn.Identity"], ["logger.mine", "hookline.loggers.sink.Sink"]),
    "no metric": (["+evaluation.metrics.mine._target_=torch.nn.Identity"], ["evaluation.metrics.mine", "compute"]),
    "no update": (["update._target_=torch.nn.Identity"], ["update._target_=torch.nn.Identity", "engine.Update"]),
    "no source": (["data._target_=torch.nn.Identity"], ["data._target_=torch.nn.Identity", "hookline.data.Source"]),
    "seed": (["seed=-1"], ["seed=-1", ">= 0"]),
    "group removed": (["~optimizer"], ["optimizer"]),
    "update removed": (["~update"], ["update: is missing", "update=NAME"]),
}


@pytest.mark.parametrize("name", thinned(CASES))
def test_message(name, train):
    arguments, expected = CASES[name]
    finished = train(*arguments)
    screen = finished.out + finished.err
    assert finished.status == 2, screen
    assert "Traceback" not in screen
    assert finished.err.startswith("error: ")
    assert len(finished.err.strip().splitlines()) == 1
    for part in expected:
        assert part in finished.err


def test_the_keys_listed_are_a_run_s(train):
    finished = train("sed=1")
    listed = finished.err.rpartition("There is: ")[2].strip().split(", ")
    assert {"seed", "optimizer", "experiment"} <= set(listed)
    assert not {"hydra", "parts"} & set(listed)


def test_the_trace_is_in_the_log(train):
    finished = train("lr_schedule.warmup_ratio=1.5")
    log = (finished.run_dir / "train.log").read_text()
    assert "Traceback" in log
    assert "warmup_ratio" in log


@pytest.mark.skipif("__import__('torch').cuda.is_available()")
def test_cuda_without_one(train):
    finished = train("runner.device=cuda")
    assert finished.status == 2
    assert "runner.device=cuda: must be auto or cpu" in finished.err


def test_a_bug_keeps_its_trace(train, monkeypatch):
    monkeypatch.setattr("hookline.commands.train.describe", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train()


def test_missing_data_folder(train, tmp_path):
    finished = train("data=fashion_mnist", f"data.root={tmp_path}/nowhere")
    assert finished.status == 2
    assert f"data.root={tmp_path}/nowhere: there is no such folder" in finished.err
    assert "data.download=true" in finished.err


def test_empty_data_folder(train, tmp_path):
    (tmp_path / "empty").mkdir()
    finished = train("data=fashion_mnist", f"data.root={tmp_path}/empty")
    assert finished.status == 2
    assert "the folder is empty" in finished.err


def test_incomplete_data_folder(train, idx_folder):
    folder = idx_folder()
    (folder / "t10k-labels-idx1-ubyte").unlink()
    finished = train("data=fashion_mnist", f"data.root={folder}")
    assert finished.status == 2
    assert "has no t10k-labels-idx1-ubyte" in finished.err


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_truncated_idx(train, idx_folder, suffix):
    folder = idx_folder(suffix=suffix)
    path = folder / f"train-images-idx3-ubyte{suffix}"
    path.write_bytes(path.read_bytes()[:-100])
    finished = train("data=fashion_mnist", f"data.root={folder}")
    assert finished.status == 2
    assert str(path) in finished.err
    assert "truncated" in finished.err


def test_label_outside_the_classes(train, idx_folder):
    folder = idx_folder()
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x0c")
    finished = train("data=fashion_mnist", f"data.root={folder}")
    assert finished.status == 2
    assert "label 12" in finished.err
    assert "0 to 9" in finished.err


def test_a_failing_job_does_not_stop_the_sweep(train):
    finished = train("-m", "runner.max_iters=2", "optimizer.lr=-1,0.1")
    assert finished.status == 2
    assert "error in job lr=-1: optimizer" in finished.err
    results = [json.loads((directory / "result.json").read_text()) for directory in finished.run_dirs]
    assert [result["status"] for result in results] == ["failed", "completed"]


def test_output_that_nobody_reads_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, str(ROOT / "src" / "train.py"), "--help"]
    with os.fdopen(writing, "w") as closed:
        finished = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (141, "")


def test_of_two_broken_files_that_is_told_which_was_asked_for(run_task, tmp_path):
    folder = tmp_path / "local" / "conf" / "optimizer"
    folder.mkdir(parents=True)
    for name in ("first", "second"):
        (folder / f"{name}.yaml").write_text("lr: [0.1\n")
    done = run_task(lambda cfg: None, "train", "optimizer=second")
    assert done.status == 2
    assert done.err.startswith(f"error: {folder / 'second.yaml'}: line 2: ")
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "path", "blamed"),
    [
        (["runner.max_epochs=1", "seed=0,1"], "/x/1/state.json", ""),
        (["model=s", "hydra.sweep.dir=/x/s"], "/x/s/1/state.json", "hydra.sweep.dir=/x/s: "),
        (["model=s", "hydra.run.dir=/x/s/1"], "/x/s", "hydra.run.dir=/x/s/1: "),
        (["seed=1", "hydra.run.dir=runs"], "runs/1", "hydra.run.dir=runs: "),
        (["seed=1", "model=s"], "outputs/1", ""),
        (["seed=1"], ".", ""),
    ],
)
def test_a_place_is_blamed_on_the_path_that_was_given(arguments, path, blamed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    error = OSError(errno.ENOSPC, "No space left on device", path)
    assert explain(error) == f"{blamed}{path}: No space left on device"


def test_a_full_disk_is_named_by_the_file_that_was_written(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(OSError, match="No space") as told, Path("/dev/full").open("w") as file:
        file.write("x")
    assert explain(told.value) == "/dev/full: No space left on device"
