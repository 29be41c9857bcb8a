"""Starting from a file's weights: what loads, what does not, and what is said of it."""

from __future__ import annotations

import logging
import re

import pytest
import timm
import torch
from safetensors.torch import save_file

from hookline.checkpoint import write
from hookline.config.errors import ConfigError
from hookline.models.build import build_model
from hookline.models.weights import load_weights


def node(path, name: str = "test_resnet", **arguments) -> dict:
    return {
        "_target_": "timm.create_model",
        "model_name": name,
        "pretrained": False,
        "checkpoint_path": None if path is None else str(path),
        **arguments,
    }


def build(path, *, classes: int = 3, chans: int = 3, name: str = "test_resnet", **arguments):
    return build_model(node(path, name, **arguments), num_classes=classes, in_chans=chans, img_size=32)


@pytest.fixture
def source():
    torch.manual_seed(1)
    return timm.create_model("test_resnet", num_classes=3)


@pytest.mark.parametrize("form", ["pt", "pth", "safetensors", "module", "checkpoint", "hookline"])
def test_forms_of_files(form, source, tmp_path):
    state = source.state_dict()
    path = tmp_path / f"weights.{form if form in ('pth', 'safetensors') else 'pt'}"
    if form == "safetensors":
        save_file(state, path)
    elif form == "module":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    elif form == "checkpoint":
        torch.save({"model": state, "optimizer": {}, "epoch": 3, "config": "seed: 0"}, path)
    elif form == "hookline":
        write(path, {"format": 2, "parts": {"model": state, "optimizer": {}}, "config": "seed: 0"})
    else:
        torch.save(state, path)
    model = build(path)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_another_head_and_other_channels_are_adapted_and_reported(source, tmp_path, caplog):
    torch.save(source.state_dict(), tmp_path / "w.pt")
    with caplog.at_level(logging.INFO, "hookline.models.weights"):
        model = build(tmp_path / "w.pt", classes=7, chans=1)
    first = model.conv1[0].weight
    torch.testing.assert_close(first, source.conv1[0].weight.sum(1, keepdim=True))
    assert torch.equal(model.layer4[0].conv1.weight, source.layer4[0].conv1.weight)
    assert model.fc.weight.shape[0] == 7
    (record,) = [r for r in caplog.records if r.name == "hookline.models.weights"]
    total = len(source.state_dict())
    assert f"{total - 2} of {total} tensors loaded" in record.message
    assert re.search(r"fitted to other input channels: conv1\.0\.weight", record.message)
    assert re.search(r"of another shape: fc\.weight \(3, \d+\) in the file, \(7, \d+\) here, fc\.bias", record.message)
    assert record.levelno == logging.INFO


def test_what_is_missing_or_unexpected_is_a_warning(source, tmp_path, caplog):
    state = source.state_dict()
    state["layer5.weight"] = state.pop("layer1.0.conv1.weight")
    torch.save(state, tmp_path / "w.pt")
    with caplog.at_level(logging.INFO, "hookline.models.weights"):
        build(tmp_path / "w.pt")
    (record,) = [r for r in caplog.records if r.name == "hookline.models.weights"]
    assert record.levelno == logging.WARNING
    assert "not in the file: layer1.0.conv1.weight" in record.message
    assert "in the file but not in the model: layer5.weight" in record.message


def test_position_embeddings_are_resized_by_timms_converter(tmp_path):
    source = timm.create_model("test_vit", num_classes=3, img_size=160)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    model = timm.create_model("test_vit", num_classes=3, img_size=96)
    assert model.pos_embed.shape != source.pos_embed.shape
    report = load_weights(model, tmp_path / "w.pt")
    assert "pos_embed" in report.loaded
    assert not report.reshaped


def test_files_that_are_no_weights(source, tmp_path):
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pt")
    for name, message in {
        "weigths.pt": r"there is no such file\. Did you mean 'weights\.pt'",
        "text.pt": "cannot be read as weights",
        "empty.pt": "holds no tensors by name",
        "other.pt": "none of its 1 tensors fits the model",
    }.items():
        with pytest.raises(ConfigError, match=rf"model\.checkpoint_path=.*{name}: {message}"):
            build(tmp_path / name)


def test_pretrained_without_internet_names_file_folder_and_what_to_do(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError) as error:
        build(None, pretrained=True)
    message = str(error.value)
    for part in (
        *("model.pretrained=true", "model.safetensors", "timm/test_resnet.r160_in1k", str(tmp_path)),
        *("models--timm--test_resnet.r160_in1k", "HF_HUB_OFFLINE", "model.checkpoint_path=FILE"),
    ):
        assert part in message, part


def test_pretrained_from_the_cache_needs_no_internet(monkeypatch, tmp_path):
    from huggingface_hub import constants

    source = timm.create_model("test_resnet", num_classes=1000)
    repo = tmp_path / "models--timm--test_resnet.r160_in1k"
    (repo / "snapshots" / "abc").mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc")
    save_file(source.state_dict(), repo / "snapshots" / "abc" / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    model = build(None, pretrained=True, chans=1)
    assert torch.equal(model.layer4[0].conv1.weight, source.layer4[0].conv1.weight)  # type: ignore[index,union-attr]
