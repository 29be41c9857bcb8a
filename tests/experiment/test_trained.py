"""What is opened of a run: the model, its classes and transforms, in five lines of Python."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import hookline
from hookline.config.errors import ConfigError
from hookline.experiment import build_device, build_source, build_val_loader
from hookline.experiment.trained import WEIGHTS


def result_of(run):
    import json

    return json.loads((run / "result.json").read_text())


def accuracy(model):
    source = build_source(model.cfg, "val")
    loader = build_val_loader(model.cfg, source, source, build_device(model.cfg))
    right = 0
    with torch.inference_mode():
        for batch in loader.batches(0):
            right += int((model.forward(batch.images).argmax(dim=1) == batch.targets).sum())
    return 100 * right / len(source)


def test_importing_the_package_imports_no_torch():
    code = "import sys, hookline; assert 'torch' not in sys.modules and 'hydra' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    with pytest.raises(AttributeError, match="unload"):
        hookline.unload  # noqa: B018


def test_the_model_has_the_accuracy_that_training_measured(trained_run):
    run = trained_run()
    assert accuracy(hookline.load(run, device="cpu")) == result_of(run)["best"]["val/top1"]
    assert accuracy(hookline.load(run, weights="last")) == result_of(run)["final"]["val/top1"]
    assert accuracy(hookline.load(run, weights="ema")) == result_of(run)["final"]["val_ema/top1"]


def test_best_is_the_average_where_that_decided(trained_run):
    run = trained_run("evaluation.monitor=val_ema/top1")
    model = hookline.load(run)
    assert model.weights == "the average ema"
    assert accuracy(model) == result_of(run)["best"]["val_ema/top1"]


def test_transforms_give_what_validation_gives(trained_run):
    model = hookline.load(trained_run())
    source = build_source(model.cfg, "val")
    batch = next(build_val_loader(model.cfg, source, source, torch.device("cpu")).batches(0))
    assert torch.equal(model.transforms(source.read(3)), batch.images[3])
    assert tuple(batch.images.shape[1:]) == model.shape


def test_an_image_is_taken_in_any_form(trained_run, tmp_path):
    model = hookline.load(trained_run())
    pixels = build_source(model.cfg, "val").read(0)
    array = pixels[0].numpy()
    Image.fromarray(array).save(tmp_path / "a.png")
    expected = model.transforms(pixels)
    for image in (array, array[..., None], Image.fromarray(array), tmp_path / "a.png", str(tmp_path / "a.png")):
        assert torch.equal(model.transforms(image), expected)
    colour = np.stack([array] * 3, axis=-1)
    assert torch.equal(model.transforms(colour), expected)
    with pytest.raises(TypeError, match="tensor of bytes"):
        model.transforms(pixels.float())


@pytest.mark.parametrize("shape", [(1, 8, 8), (8, 8, 2)])
def test_an_array_that_is_no_image_is_told(trained_run, shape):
    model = hookline.load(trained_run())
    with pytest.raises(TypeError, match=r"with 1, 3 or 4 channels.* not ndarray \["):
        model.predict(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"must have pixels, and this one has the shape \[0, 8\]"):
        model.predict(np.zeros((0, 8), np.uint8))


def test_predictions_are_names_with_probabilities(trained_run):
    model = hookline.load(trained_run())
    source = build_source(model.cfg, "val")
    images = [source.read(index) for index in range(40)]
    found = model.predict(images, top_k=10)
    assert len(found) == 40
    assert all(sorted(p.classes) == model.classes for p in found)
    assert all(list(p.probabilities) == sorted(p.probabilities, reverse=True) for p in found)
    assert all(sum(p.probabilities) == pytest.approx(1) for p in found)
    assert model.predict(images[0])[0].classes == found[0].classes[:5]
    assert [p.classes for p in model.predict(torch.stack(images), top_k=1)] == [p.classes[:1] for p in found]


def test_neither_data_nor_weights_are_fetched(trained_run, tmp_path, monkeypatch):
    run = trained_run()
    monkeypatch.setattr("sklearn.datasets.load_digits", None)  # the run's data have gone
    model = hookline.load(run)
    assert model.classes == [str(digit) for digit in range(10)]
    # The run had started from pretrained weights.
    content = torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    content["config"] = content["config"].replace("pretrained: false", "pretrained: true")
    from hookline.checkpoint import write

    write(tmp_path / "pretrained.pt", content)
    again = hookline.load(tmp_path / "pretrained.pt")
    assert torch.equal(next(again.model.parameters()), next(model.model.parameters()))


def test_class_names_may_be_edited(trained_run, tmp_path):
    run = shutil.copytree(trained_run(), tmp_path / "run")
    (run / "classes.txt").write_text("\n".join("abcdefghij"))
    assert hookline.load(run).classes == list("abcdefghij")


def test_overrides_change_the_config(trained_run):
    run = trained_run()
    model = hookline.load(run, overrides=["data.val_batch_size=7", "data.transforms.resize.size=40"])
    assert model.cfg.data.val_batch_size == 7
    assert model.transforms(np.zeros((8, 8), dtype=np.uint8)).shape == (1, 40, 40)
    other = hookline.load(run, overrides=["data=arrays", "data.train=x.npz"]).cfg.data
    assert (other._target_, other.train, other.transforms.resize.size) == ("hookline.data.Arrays", "x.npz", 32)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.rot=x"], "data.rot=x: the run has no such key"),
        (["nothing.at=x"], "nothing.at=x: the run has no such key"),
        (["data=nothing"], "nothing"),
        (["data"], "data: is not of the form"),
        (["model.num_classes=3"], "model.num_classes=3: must be at least 10"),
    ],
)
def test_a_wrong_override_is_told(overrides, said, trained_run):
    with pytest.raises(Exception, match=said):
        hookline.load(trained_run(), overrides=overrides)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_any_checkpoint_file_can_be_named(weights, trained_run):
    file = trained_run() / "checkpoints" / "last.pt"
    assert hookline.load(file, weights=weights).checkpoint == file


def test_what_is_wrong_with_a_run_is_one_line(trained_run, tmp_path):
    run = trained_run("checkpoint.save_best=false", "hooks.ema=null")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "broken.pt").write_bytes(b"PK")
    cases = [
        ((tmp_path / "none", {}), "there is no such run directory or checkpoint"),
        ((empty, {}), "holds no checkpoint"),
        ((empty / "broken.pt", {}), "truncated, damaged, or no checkpoint"),
        ((run, {}), "weights=best needs .*best.pt; there is iter_00000012.pt, last.pt"),
        ((run, {"weights": "ema"}), "weights=ema: must be best or last"),
        ((run, {"weights": "worst"}), "weights=worst: must be one of best, last, ema"),
        ((run, {"device": "tpu"}), "device=tpu: must be one of"),
        ((run, {"trust": "yes"}), "trust=yes: must be true, false, or a list"),
    ]
    for (path, options), said in cases:
        with pytest.raises(ConfigError, match=said) as error:
            hookline.load(path, **options)
        assert "\n" not in str(error.value)
