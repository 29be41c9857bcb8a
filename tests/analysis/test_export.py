"""What is exported computes the same, in every format, and what differs is refused."""

from __future__ import annotations

import json
import sys

import onnx
import onnxruntime
import pytest
import timm
import torch
from torch import nn

from hookline.analysis.export import Format, Normalized, Subject, compare, export, in_batches
from hookline.analysis.export_formats import FORMATS
from hookline.config.errors import ConfigError, ParameterError
from hookline.models.deployed import deployed_form

IMAGES = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
CLASSES = ["cat", "dog", "föx"]


class Small(nn.Module):
    """A convolution with normalisation, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 3)

    def forward(self, images):
        return self.head(self.body(images).mean((2, 3)))


@pytest.fixture
def small():
    torch.manual_seed(0)
    return Small().eval()


def subject_of(model, **given) -> Subject:
    return Subject(model, IMAGES, about={"classes": CLASSES, "mean": [0.5]}, **given)


@pytest.mark.parametrize(
    ("name", "size"), [("onnx", 2), ("torch_export", 2), ("torch_export", None), ("safetensors", None)]
)
def test_every_format_computes_the_same(name, size, small, tmp_path):
    subject = subject_of(small, batch_size=size)
    difference = export(FORMATS[name], subject, in_batches(small, IMAGES, size), tmp_path / "out", 1e-5)
    assert difference.largest < 1e-5
    assert (difference.images, difference.decisions) == (5, 0)
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_onnxruntime_runs_it_with_any_number_of_images_and_finds_the_classes(small, tmp_path):
    model = Normalized(small, [0.4, 0.5, 0.6], [0.2, 0.3, 0.1]).eval()
    normalized = (IMAGES - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.1]).view(3, 1, 1)
    expected = in_batches(small, normalized, None)
    export(FORMATS["onnx"], subject_of(model), expected, tmp_path, 1e-5)
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == CLASSES
    (given,) = session.get_inputs()
    assert (given.name, given.shape[1:]) == ("images", [3, 32, 32])
    for count in (1, 2, 5):
        (logits,) = session.run(["logits"], {"images": IMAGES[:count].numpy()})
        assert torch.allclose(torch.from_numpy(logits), expected[:count], atol=1e-5)


def test_torch_export_and_safetensors_have_the_classes(small, tmp_path):
    from safetensors import safe_open

    expected = in_batches(small, IMAGES, None)
    for name in ("torch_export", "safetensors"):
        export(FORMATS[name], subject_of(small), expected, tmp_path, 1e-5)
    texts = {"classes.json": ""}
    torch.export.load(tmp_path / "model.pt2", extra_files=texts)
    assert json.loads(texts["classes.json"]) == CLASSES
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["classes"]) == CLASSES
        assert torch.equal(file.get_tensor("head.weight"), small.head.weight)


@pytest.mark.parametrize("name", ["repvgg_a0", pytest.param("mobileone_s0", marks=pytest.mark.slow)])
def test_the_deployed_form_runs_in_onnxruntime_as_a_plain_chain_of_convolutions(name, tmp_path):
    model = timm.create_model(name, num_classes=3).eval()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after a training
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    expected = in_batches(model, IMAGES, None)
    difference = export(FORMATS["onnx"], subject_of(deployed_form(model)), expected, tmp_path, 1e-4)
    assert difference.decisions == 0
    operations = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert operations.count("Conv") == sum(isinstance(m, nn.Conv2d) for m in deployed_form(model).modules())
    assert not {"BatchNormalization", "Add"} & set(operations)


@pytest.mark.parametrize(
    ("name", "given"),
    [("test_vit", {"img_size": 32, "patch_size": 8}), ("test_convnext", {}), ("test_resnet", {"global_pool": "max"})],
)
def test_timm_opens_its_folder_with_the_same_outputs(name, given, tmp_path):
    model = timm.create_model(name, num_classes=3, **given).eval()
    expected = in_batches(model, IMAGES, None)
    known = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "input_size": (3, 32, 32), "crop_pct": 0.9}
    export(FORMATS["timm"], subject_of(model, preprocessing=known), expected, tmp_path, 1e-5)
    opened = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    with torch.inference_mode():
        assert torch.allclose(opened(IMAGES), expected, atol=1e-6)
    assert opened.pretrained_cfg["label_names"] == CLASSES
    data = timm.data.resolve_model_data_config(opened)
    assert {key: data[key] for key in known} == known
    assert not opened.pretrained_cfg.get("license")


class Wrong(Format):
    """Writes a file, and computes something else."""

    def __init__(self, off: float) -> None:
        self.off = off

    def write(self, folder, subject):
        (folder / "model.txt").write_text("new")

    def open(self, folder, subject):
        return lambda images: subject.model(images) + self.off


@pytest.mark.parametrize("off", [0.01, float("nan")])
def test_a_difference_that_is_too_large_is_an_error_and_leaves_what_was_there(off, small, tmp_path):
    (tmp_path / "model.txt").write_text("old")
    expected = in_batches(small, IMAGES, None)
    with pytest.raises(ParameterError, match=r"tolerance=0.001: must be .* the logits differ from PyTorch's"):
        export(Wrong(off), subject_of(small), expected, tmp_path, 1e-3)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("model.txt", "old")]
    export(Wrong(1e-4), subject_of(small), expected, tmp_path, 1e-3)
    assert (tmp_path / "model.txt").read_text() == "new"


def test_a_difference_is_that_of_the_worst_logit():
    expected = torch.tensor([[1.0, -8.0], [2.0, 1.0]])
    given = torch.tensor([[1.0, -8.5], [0.5, 1.0]])
    found = compare(
        lambda images: given[: len(images)] if len(images) == 2 else given, Subject(Small(), IMAGES[:2], 2), expected
    )
    assert (found.largest, found.scale, found.images, found.decisions) == (1.5, 8.0, 2, 1)


class Branches(nn.Module):
    """A model whose way depends on its numbers."""

    def forward(self, images):
        return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))


@pytest.mark.parametrize("name", ["onnx", "torch_export", "timm"])
def test_a_model_that_a_format_cannot_take_is_told(name, tmp_path):
    with pytest.raises(ParameterError, match=f"format='{name}': must be ") as told:
        export(FORMATS[name], subject_of(Branches()), IMAGES.mean((2, 3)), tmp_path / "out", 1e-4)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["safetensors", "timm"])
def test_weights_alone_cannot_normalize(name, small, tmp_path):
    subject = subject_of(Normalized(small, [0.5] * 3, [0.5] * 3).eval())
    with pytest.raises(ParameterError, match=f"normalize=True: must be false with format={name}"):
        export(FORMATS[name], subject, in_batches(small, IMAGES, None), tmp_path, 1e-4)


def test_a_missing_package_is_one_line_that_says_what_to_install(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"needs the package onnxscript; install with: pip install -e '\.\[onnx\]'"):
        export(FORMATS["onnx"], subject_of(small), in_batches(small, IMAGES, None), tmp_path, 1e-4)
