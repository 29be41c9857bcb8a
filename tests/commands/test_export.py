"""scripts/export.py writes what a run has trained, as other programs open it."""

from __future__ import annotations

import json
import resource
import shutil

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from tests.conftest import thinned
from tests.images import write_folder

import hookline
from hookline.commands.export import export
from hookline.config.errors import ConfigError
from hookline.experiment import build_source

QUIET = "hooks.text=null"


@pytest.fixture
def run_dir(trained_run, tmp_path):
    """A copy of a run directory, into which the exports go."""
    return shutil.copytree(trained_run(QUIET), tmp_path / "run")


@pytest.fixture
def exported(run_task, run_dir):
    """Return a function: the command's end with these arguments, and the folder of the files."""

    def run(*arguments: str, format: str = "onnx"):
        finished = run_task(export, "export", f"run={run_dir}", f"format={format}", *arguments)
        return finished, run_dir / "export" / format

    return run


def digits(run_dir, count: int = 4) -> torch.Tensor:
    """Return validation images as the model gets them."""
    trained = hookline.load(run_dir, device="cpu")
    source = build_source(trained.cfg, "val")
    return torch.stack([trained.transforms(source.read(index)) for index in range(count)])


def test_onnx_takes_pixels_and_gives_the_model_s_logits(exported, run_dir):
    finished, folder = exported("normalize=true")
    assert (finished.status, finished.err) == (0, "")
    assert "verified on 8 images: the largest difference of logits is" in finished.out
    assert max(map(len, finished.out.splitlines())) <= 140
    trained = hookline.load(run_dir, device="cpu")
    source = build_source(trained.cfg, "val")
    pixels = torch.nn.functional.interpolate(source.read(3)[None].float(), (32, 32), mode="bilinear", antialias=True)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert session.get_inputs()[0].shape == ["batch", 1, 32, 32]
    assert session.get_outputs()[0].shape == ["batch", 10]
    (logits,) = session.run(["logits"], {"images": (pixels / 255).numpy()})
    with torch.inference_mode():
        expected = trained.model(trained.transforms(source.read(3))[None]).numpy()
    assert np.allclose(logits, expected, atol=1e-4)
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == trained.classes
    assert "pixels in [0, 1]" in told["input"]
    assert json.loads((folder / "export.json").read_text())["largest_difference"] < 1e-4


@pytest.mark.parametrize("weights", ["last", "ema"])
def test_timm_opens_the_weights_that_were_chosen(weights, exported, run_dir):
    finished, folder = exported(f"weights={weights}", format="timm")
    assert (finished.status, finished.err) == (0, "")
    opened = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    own = hookline.load(run_dir, weights=weights, device="cpu")
    other = hookline.load(run_dir, weights="last" if weights == "ema" else "ema", device="cpu")
    images = digits(run_dir)
    with torch.inference_mode():
        assert torch.equal(opened(images), own.model(images))
        assert not torch.allclose(opened(images), other.model(images))
    assert opened.pretrained_cfg["label_names"] == own.classes
    assert opened.pretrained_cfg["input_size"] == (1, 32, 32)


def test_a_graph_for_one_image_verified_on_images_of_one_s_own(exported, run_dir, tmp_path):
    write_folder(tmp_path / "photos", [""], 3, size=(8, 8))
    place = tmp_path / "elsewhere"
    given = (f"images={tmp_path}/photos", f"output_dir={place}", "batch_size=1", "samples=2")
    finished, _ = exported(*given, format="torch_export")
    assert (finished.status, finished.err) == (0, "")
    assert "verified on 2 images" in finished.out
    images = digits(run_dir, 1)
    program = torch.export.load(place / "model.pt2").module()
    own = hookline.load(run_dir, device="cpu").model
    with torch.inference_mode():
        assert torch.allclose(program(images), own(images), atol=1e-5)


def test_images_of_another_size_are_brought_to_the_model_s(run_task, trained_run, tmp_path):
    # Nothing in this run resizes: all its images are 8 pixels wide.
    run = trained_run("data.transforms.resize=null", "data.train_transforms=null")
    write_folder(tmp_path / "photos", [""], 3, size=(20, 30))
    given = (f"run={run}", "format=torch_export", f"images={tmp_path}/photos", f"output_dir={tmp_path}/out")
    finished = run_task(export, "export", *given)
    assert (finished.status, finished.err) == (0, "")
    program = torch.export.load(tmp_path / "out" / "model.pt2").module()
    assert program(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


def test_without_the_run_s_data_images_have_to_be_given(exported, monkeypatch):
    def gone(cfg, split):
        raise ConfigError("data.root=away: there is no such folder")

    monkeypatch.setattr("hookline.commands.export.build_source", gone)
    finished, _ = exported(format="safetensors")
    assert finished.status == 2
    assert finished.err.startswith("error: images=null: the run's validation images")
    assert finished.err.endswith("(data.root=away: there is no such folder); give images=FOLDER\n")


@pytest.fixture
def small_disk():
    """Files cannot grow beyond 20 kB: the system says so as it does of a full disk, without a path."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("format", thinned(["safetensors", "onnx", "torch_export", "timm"]))
def test_a_full_disk_is_one_message(format, exported, tmp_path, small_disk):
    finished, _ = exported(f"output_dir={tmp_path}/small", format=format)
    assert finished.status == 2
    assert finished.err == f"error: output_dir={tmp_path}/small: {tmp_path}/small: File too large\n"


WRONG = {
    "run=": "run=: must be a run directory or a checkpoint; give run=RUN_DIR",
    "run=null": "run: is missing; give a run directory or one of its checkpoints",
    "run=nowhere": "run=nowhere: there is no such run directory",
    "run=RUN format=tflite": "format=tflite: must be one of onnx, torch_export, safetensors, timm",
    "run=RUN weights=first": "weights=first: must be one of best, last, ema",
    "run=RUN format=timm normalize=true": "normalize=true: must be false with format=timm",
    "run=RUN format=timm batch_size=2": "batch_size=2: must be null with format=timm",
    "run=RUN format=timm deployed=true": "deployed=true: must be false or null with format=timm",
    "run=RUN batch_size=0": "batch_size=0: must be an integer > 0",
    "run=RUN samples=0": "samples=0: must be an integer > 0",
    "run=RUN format=safetensors output_dir=/proc/x/y": "output_dir=/proc/x/y: /proc/x: no folder can be made there",
    "run=RUN tolerance=no": "tolerance=no: must be a number > 0",
    "run=RUN images=nothing": "images=nothing: must be an image, or a folder with images",
    "run=RUN normalise=true": "normalise: there is no such key. Did you mean 'normalize'?",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_input_is_one_message(arguments, run_task, trained_run):
    words = [word.replace("RUN", str(trained_run(QUIET))) for word in arguments.split()]
    finished = run_task(export, "export", *words)
    assert finished.status == 2
    assert finished.err.startswith(f"error: {WRONG[arguments]}")
    assert finished.err.count("\n") == 1
    assert not (trained_run(QUIET) / "export").exists()
