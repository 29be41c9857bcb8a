"""A key of an earlier version ends in an error that names the new one, and the new one works."""

from __future__ import annotations

import pytest
from tests.conftest import thinned

from hookline.config.moved import MOVED
from hookline.experiment import build_runner
from hookline.job import Job

# Each old key, with a value, and what is to be written in its place.
RENAMED = {
    ("hooks.optimizer.grad_clip.max_norm", "5.0"): "update.grad_clip.max_norm=5.0",
    ("hooks.optimizer.grad_clip", "{agc: 0.01}"): "update.grad_clip={agc: 0.01}",
    ("hooks.optimizer.micro_batches", "4"): "update.micro_batches=4",
    ("hooks.optimizer.log_grad_norm", "true"): "update.log_grad_norm=true",
    ("hooks.optimizer.detect_unused", "true"): (
        "+hooks.unused._target_=hookline.hooks.unused_parameters.UnusedParametersHook"
    ),
    ("hooks.optimizer", "{micro_batches: 2}"): "update={micro_batches: 2}",
    ("hooks.evaluation.rule", "min"): "evaluation.mode=min",
    ("hooks.evaluation.interval", "2"): "evaluation.interval=2",
    ("hooks.evaluation", "{monitor: val/loss}"): "evaluation={monitor: val/loss}",
    ("hooks.metrics_csv._target_", "hookline.loggers.metrics_csv.MetricsCSVSink"): (
        "logger.csv._target_=hookline.loggers.metrics_csv.MetricsCSVSink"
    ),
    ("hooks.metrics_csv", "{}"): "logger.csv={}",
    ("hooks.tensorboard.interval", "5"): "logger.interval=5",
    ("hooks.tensorboard", "{}"): "logger.tensorboard={}",
    ("hooks.checkpoint.best", "false"): "checkpoint.save_best=false",
    ("hooks.checkpoint.last", "false"): "checkpoint.save_last=false",
    ("hooks.checkpoint", "{interval: 2}"): "checkpoint={interval: 2}",
}
# Each old key, with what is to be written for KEY=null and for ~KEY; None: a null was refused, and still is.
REMOVED = {
    "hooks.optimizer.grad_clip": ("update.grad_clip=null", "~update.grad_clip"),
    "hooks.optimizer.micro_batches": (None, "~update.micro_batches"),
    "hooks.optimizer.log_grad_norm": (None, "~update.log_grad_norm"),
    "hooks.optimizer.detect_unused": ("+hooks.unused=null", "+hooks.unused=null"),
    "hooks.optimizer": ("update=default", "update=default"),
    "hooks.evaluation.rule": ("evaluation.mode=null", "evaluation.mode=null"),
    "hooks.evaluation": ("evaluation=none", "evaluation=none"),
    "hooks.metrics_csv": ("logger.csv=null", "~logger.csv"),
    "hooks.tensorboard.interval": (None, "~logger.interval"),
    "hooks.tensorboard": ("logger.tensorboard=null", "~logger.tensorboard"),
    "hooks.checkpoint.last": (None, "~checkpoint.save_last"),
    "hooks.checkpoint.best": (None, "~checkpoint.save_best"),
    "hooks.checkpoint": ("checkpoint=none", "checkpoint=none"),
}
CASES = [
    *[(f"{key}={value}", new, True) for (key, value), new in RENAMED.items()],
    *[(f"+{key}={value}", new, True) for (key, value), new in RENAMED.items()],
    *[
        (f"{key}=null", null or f"{deleted.lstrip('~')}=null", null is not None)
        for key, (null, deleted) in REMOVED.items()
    ],
    *[(f"~{key}", deleted, True) for key, (_, deleted) in REMOVED.items()],
]


def test_every_moved_key_is_tried():
    assert REMOVED.keys() == MOVED.keys()
    assert {key for key, _ in RENAMED} >= MOVED.keys()


@pytest.mark.parametrize(("old", "new", "works"), thinned(CASES, 5), ids=[old for old, _, _ in CASES])
def test_the_error_names_what_works(old, new, works, train, config, tmp_path):
    finished = train(old)
    assert finished.status == 2
    assert finished.err == f"error: {old}: this key has moved; write {new}\n"
    assert not finished.run_dirs
    if works:
        build_runner(config(new, "runner.max_iters=2", "data.transforms.resize=null"), Job(tmp_path))


@pytest.mark.parametrize(
    ("old", "gone"),
    [
        ("hooks.optimizer.priority=30", "update has no priority"),
        ("hooks.tensorboard.priority=LOW", "logger.tensorboard has no priority"),
        ("hooks.evaluation._target_=x.Y", "evaluation has no _target_"),
    ],
)
def test_a_key_that_has_no_new_place(old, gone, train):
    finished = train(old)
    assert (finished.status, finished.err) == (2, f"error: {old}: this key has moved; write nothing: {gone}\n")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensorboard", "hooks.tensorboard: this key has moved; write logger.tensorboard"),
        ("optimizer", "hooks.optimizer: this key has moved; write update"),
        ("logger", "hooks.logger: the group logger describes the hook of this name; give yours another"),
    ],
)
def test_a_file_of_a_users(name, message, train, tmp_path):
    experiment = tmp_path / "conf" / "experiment" / "mine.yaml"
    experiment.parent.mkdir(parents=True)
    experiment.write_text(f"# @package _global_\nhooks:\n  {name}: null\n")
    finished = train("experiment=mine", "--config-dir", str(tmp_path / "conf"))
    assert (finished.status, finished.err) == (2, f"error: {message}\n")
