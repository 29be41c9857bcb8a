"""Starting from a file's weights: what loads, what does not, and what is said of it."""

from __future__ import annotations

import logging
import os
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


PREFIXES = ["module.", "_orig_mod.", "model.", "backbone.", "module.net.encoder."]


@pytest.mark.parametrize("form", ["pt", "pth", "safetensors", "net", "checkpoint", "hookline", *PREFIXES])
def test_forms_of_files(form, source, tmp_path):
    state = source.state_dict()
    path = tmp_path / f"weights.{form if form in ('pth', 'safetensors') else 'pt'}"
    if form == "safetensors":
        save_file(state, path)
    elif form in PREFIXES:
        path = tmp_path / "weights.ckpt"
        others = {"epoch_of_best": torch.ones(1)}
        torch.save({"state_dict": others | {f"{form}{name}": value for name, value in state.items()}}, path)
    elif form == "net":
        torch.save({"net": state, "acc": 93.1}, path)
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
    (tmp_path / "digits.pt").write_text("101")
    (tmp_path / "nothing.pt").touch()
    (tmp_path / "cut.safetensors").write_bytes(b"\x20\0\0\0")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "weights.pt").read_bytes()[:5000])
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    torch.save(source, tmp_path / "module.pt")
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pt")
    torch.save(source.state_dict() | {"fc.bias": torch.tensor([0.0, float("nan"), 0.0])}, tmp_path / "nan.pt")
    torch.save({name: v.to(torch.complex64) for name, v in source.state_dict().items()}, tmp_path / "complex.pt")
    torch.save({name: v > 0 for name, v in source.state_dict().items()}, tmp_path / "bool.pt")
    torch.save({name: v.long() for name, v in source.state_dict().items()}, tmp_path / "long.pt")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "best.pt").touch()
    for name, message in {
        "weigths.pt": r"there is no such file\. Did you mean 'weights\.pt'",
        "text.pt": r"cannot be read as weights: it is none that torch\.save or safetensors wrote",
        "digits.pt": r"cannot be read as weights: it is none that torch\.save or safetensors wrote",
        "nothing.pt": "cannot be read as weights: .* or it is damaged",
        "cut.safetensors": "cannot be read as weights: .* or it is damaged",
        "cut.pt": "cannot be read as weights: .* or it is damaged",
        "list.pt": "cannot be read as weights: it holds a list",
        "module.pt": r"cannot be read as weights: it holds Python objects.*state_dict\(\)",
        "run": r"is a folder; name a file\. It holds checkpoints/best\.pt",
        "nan.pt": r"holds numbers that are not finite, in fc\.bias",
        "complex.pt": r"holds numbers of another kind than the model's: .* is torch\.complex64, and torch\.float32",
        "bool.pt": r"holds numbers of another kind than the model's: .* is torch\.bool, and torch\.float32",
        "long.pt": r"holds numbers of another kind than the model's: .* is torch\.int64, and torch\.float32",
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


def averaged(source, path, kind: str, monitor: str) -> dict[str, torch.Tensor]:
    """Write a checkpoint that holds an average of the weights beside them, and return the average."""
    average = {name: value + 1 for name, value in source.state_dict().items()}
    if kind == "timm":
        torch.save({"state_dict": source.state_dict(), "state_dict_ema": average, "epoch": 3}, path)
    else:
        parts = {"model": source.state_dict(), "hooks.ema": {"model": average}, "hooks.plateau": {"bad": 3}}
        write(path, {"format": 2, "parts": parts, "config": f"evaluation:\n  monitor: {monitor}\n"})
    return average


@pytest.mark.parametrize(
    ("kind", "monitor", "wanted", "takes_average"),
    [
        ("hookline", "val_ema/top1", "auto", True),
        ("hookline", "val/top1", "auto", False),
        ("hookline", "val/top1", "ema", True),
        ("hookline", "val_ema/top1", "model", False),
        ("timm", "", "auto", True),
        ("timm", "", "model", False),
    ],
)
def test_the_weights_are_those_that_chose_the_best_epoch(
    kind, monitor, wanted, takes_average, source, tmp_path, caplog
):
    average = averaged(source, tmp_path / "best.pt", kind, monitor)
    with caplog.at_level(logging.INFO, "hookline.models.weights"):
        model = build(tmp_path / "best.pt", checkpoint_weights=wanted)
    expected = average if takes_average else source.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    name = "hooks.ema" if kind == "hookline" else "state_dict_ema"
    assert f"best.pt, {'' if takes_average else 'not '}the average {name}: " in caplog.text


def test_an_average_that_is_not_there_is_refused(source, tmp_path):
    torch.save(source.state_dict(), tmp_path / "w.pt")
    with pytest.raises(
        ConfigError, match=r"model\.checkpoint_weights=ema: must be auto or model: .*w\.pt holds no average"
    ):
        build(tmp_path / "w.pt", checkpoint_weights="ema")
    with pytest.raises(ConfigError, match=r"model\.checkpoint_weights=mean: must be one of auto, model, ema"):
        build(tmp_path / "w.pt", checkpoint_weights="mean")


def test_a_path_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"model\.checkpoint_path=5: must be the path of a file"):
        build_model(node(None) | {"checkpoint_path": 5}, num_classes=3, in_chans=3, img_size=32)


def test_a_pipe_is_no_file_of_weights(tmp_path):
    os.mkfifo(tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match="is no regular file"):
        build(tmp_path / "weights.pt")


def test_an_address_has_to_be_downloaded():
    with pytest.raises(ConfigError, match="download it first"):
        build("https://host/weights.pt")


@pytest.mark.parametrize("content", [{0: torch.ones(2)}, {"parts": {"model": 5}}, {"parts": {0: {}}}])
def test_tensors_without_names(content, tmp_path):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match="holds no tensors by name"):
        build(tmp_path / "weights.pt")


def test_numbers_beside_names_are_left_out(source, tmp_path):
    torch.save({0: torch.ones(2), **source.state_dict()}, tmp_path / "weights.pt")
    assert torch.equal(build(tmp_path / "weights.pt").state_dict()["conv1.0.weight"], source.conv1[0].weight)


@pytest.mark.parametrize("kind", ["sparse", "meta"])
def test_tensors_that_hold_no_dense_numbers(kind, source, tmp_path):
    state = source.state_dict()
    weight = state["fc.weight"]
    torch.save(state | {"fc.weight": weight.to_sparse() if kind == "sparse" else weight.to("meta")}, tmp_path / "w.pt")
    with pytest.raises(ConfigError, match=r"fc.weight is sparse, quantized or without numbers"):
        build(tmp_path / "w.pt")
