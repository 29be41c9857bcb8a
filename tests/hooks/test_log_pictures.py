"""Sheets, histograms and the graph, which the group `logger` gives on request."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.toy import toy_runner

from hookline.config.errors import ConfigError, ParameterError
from hookline.hooks.ema import EMAHook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.log_pictures import LogPicturesHook
from hookline.job import Job
from hookline.loggers.sink import Sink
from hookline.loggers.sinks import Sinks


class Pictures(Sink):
    """Notes the pictures that it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, int]] = []

    def picture(self, name, path, step):
        assert Image.open(path).size[0] > 100
        self.got.append((name, path.name, step))


def test_a_sheet_of_what_training_sees_and_one_of_each_validations_mistakes(tmp_path):
    hook = LogPicturesHook(Sinks({"notes": (notes := Pictures())}), augmented=3, misclassified=5)
    toy_runner(EvaluationHook(), EMAHook(), hook, job=Job(tmp_path), lr=1e-4).run()
    assert notes.got == [
        ("pictures/augmented", "augmented.png", 0),
        ("pictures/misclassified", "misclassified_5.png", 4),
        ("pictures/misclassified_ema", "misclassified_ema_5.png", 4),
        ("pictures/misclassified", "misclassified_10.png", 9),
        ("pictures/misclassified_ema", "misclassified_ema_10.png", 9),
    ]


def test_a_model_without_mistakes_gets_no_sheet(tmp_path):
    class Knows(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, images):
            return torch.nn.functional.one_hot(self.labels, 3).float() * self.weight

    model = Knows()

    class Tells(LogPicturesHook):
        def before_val_iter(self, runner):
            model.labels = runner.batch.targets

        def before_train_iter(self, runner):
            model.labels = runner.batch.targets

    hook = Tells(Sinks({"notes": (notes := Pictures())}), misclassified=5)
    toy_runner(EvaluationHook(), hook, job=Job(tmp_path), model=model).run()
    assert notes.got == []


def test_tensorboard_has_them_all_with_settings_and_texts(train):
    on = ["logger.augmented=4", "logger.misclassified=4", "logger.histograms=1", "logger.graph=true"]
    finished = train(*on, "runner.max_iters=2", "data.batch_size=32", "hooks.lr_curve=null", "logger=tensorboard")
    assert finished.status == 0
    assert "WARNING" not in (finished.run_dir / "train.log").read_text()
    events = EventAccumulator(str(finished.run_dir / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    tags = events.Tags()
    assert set(tags["images"]) == {"pictures/augmented", "pictures/misclassified"}
    assert tags["graph"]
    plugins = {tag: events.SummaryMetadata(tag).plugin_data.plugin_name for tag in tags["tensors"]}
    assert plugins["weights/conv1.0.weight"] == plugins["gradients/conv1.0.weight"] == "histograms"
    assert plugins["run/config"] == plugins["run/command"] == "text"
    assert plugins["_hparams_/session_start_info"] == plugins["_hparams_/session_end_info"] == "hparams"
    assert "memory/process_mib" in tags["scalars"]


def test_nothing_that_was_not_asked_for_is_a_hook(runner):
    assert not [hook.name for hook in runner().hooks if hook.name.startswith("log_")]


@pytest.mark.parametrize(("override", "told"), [("augmented=-1", ">= 0"), ("misclassified=0.5", "an integer")])
def test_wrong_numbers(runner, override, told):
    with pytest.raises(ConfigError, match=f"logger.{override}: must be .*{told}"):
        runner(f"logger.{override}")


def test_a_wrong_interval():
    from hookline.hooks.log_model import LogModelHook

    with pytest.raises(ParameterError, match="histograms=0"):
        LogModelHook(Sinks({}), 0)
