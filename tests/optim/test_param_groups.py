"""Which parameter is in which group, with what values, under which name."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import timm
import timm.layers
import torch
from torch import nn

from hookline.config.errors import ConfigError
from hookline.optim.build import BaseValues, build_optimizer, make_groups
from hookline.optim.groups_table import groups_table, write_groups_csv
from hookline.optim.param_groups import Paramwise

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "param_groups.json").read_text())


def values(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, list[float]]:
    found = {id(p): [g["lr"], g["weight_decay"]] for g in optimizer.param_groups for p in g["params"]}
    return {name: found[id(p)] for name, p in model.named_parameters() if id(p) in found}


def names_of(model: nn.Module, groups: list[dict]) -> dict[str, set[str]]:
    names = {id(p): name for name, p in model.named_parameters()}
    return {g["name"]: {names[id(p)] for p in g["params"]} for g in groups}


class Net(nn.Module):
    """A convolution, a norm and two linear layers, the last of which is the head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.scale = nn.Parameter(torch.ones(4))
        self.body = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)


@pytest.mark.parametrize("index", range(len(GOLDEN)))
def test_paramwise_matches_the_recorded_cases(index):
    case = GOLDEN[index]
    model = timm.create_model(case["model"], num_classes=10, **case["model_kwargs"])
    arguments = dict(case["optimizer"])
    node = {"_target_": f"torch.optim.{arguments.pop('type')}", **arguments}
    paramwise = {"_target_": "hookline.optim.param_groups.Paramwise", **case["paramwise"]}
    got = values(model, build_optimizer(node, model, paramwise))
    assert got.keys() == case["expected"].keys()
    for name, expected in case["expected"].items():
        assert got[name] == pytest.approx(expected, rel=1e-12, abs=0), name


def test_the_longest_key_wins_then_the_alphabetically_first():
    keys = {"body": {"lr_mult": 2}, "body.weight": {"lr_mult": 3}, "conv.b": {"lr_mult": 5}, "bias": {"lr_mult": 7}}
    model = Net()
    groups = Paramwise(custom_keys=keys | {"y.weigh": {"lr_mult": 11}, "ody.wei": {"lr_mult": 13}})(model, 1.0, None)
    got = {name: g["lr"] for g in groups for name in names_of(model, [g])[g["name"]]}
    assert got["body.weight"] == 3
    assert got["body.bias"] == 7  # bias and body are equally long
    assert got["conv.bias"] == 5
    assert got["head.bias"] == 7
    assert got["head.weight"] == 1
    del keys["body.weight"]
    groups = Paramwise(custom_keys=keys | {"y.weigh": {"lr_mult": 11}, "ody.wei": {"lr_mult": 13}})(model, 1.0, None)
    got = {name: g["lr"] for g in groups for name in names_of(model, [g])[g["name"]]}
    assert got["body.weight"] == 13


def test_flat_decay_is_for_one_dimension_and_yields_to_the_other_multipliers():
    model = Net()
    groups = Paramwise(flat_decay_mult=0.0, norm_decay_mult=0.5)(model, 0.1, 0.01)
    by_decay = {g["weight_decay"]: names_of(model, [g])[g["name"]] for g in groups}
    assert by_decay[0.0] == {"scale", "conv.bias", "body.bias", "head.bias"}
    assert by_decay[0.005] == {"norm.weight", "norm.bias"}
    assert by_decay[0.01] == {"conv.weight", "body.weight", "head.weight"}


def test_groups_are_named_by_what_sets_them_apart():
    model = Net()
    groups = Paramwise(norm_decay_mult=0, bias_decay_mult=0, head_lr_mult=10, custom_keys={"body": {"lr_mult": 0.1}})(
        model, 0.1, 0.01
    )
    assert {name: len(members) for name, members in names_of(model, groups).items()} == {
        "base": 2,
        "bias_norm_no_decay": 3,
        "body": 2,
        "head": 1,
        "head_bias_no_decay": 1,
    }
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))


def test_names_are_unique_and_fit_into_a_tag():
    keys = {
        "conv.": {"lr_mult": 0.1},
        "body.w": {"lr_mult": 0.2},
        "conv.b": {"lr_mult": 0.3},
        "norm.": {"lr_mult": 0.4},
    }
    groups = Paramwise(custom_keys=keys)(Net(), 0.1, 0.01)
    names = [g["name"] for g in groups]
    assert len(set(names)) == len(names) == 5
    assert all(re.fullmatch(r"[\w.-]+", name, flags=re.ASCII) for name in names)


@pytest.mark.parametrize("constructor", ["Plain", "Paramwise", "LayerDecay"])
@pytest.mark.parametrize("decay", [None, 0.0, 0.1])
def test_equal_settings_share_a_group_and_frozen_parameters_have_none(constructor, decay):
    model = timm.create_model("test_resnet", num_classes=3)
    model.conv1.requires_grad_(False)
    node = {"_target_": f"hookline.optim.param_groups.{constructor}"}
    groups = make_groups(model, node, BaseValues(0.1, decay))
    settings = [(g.get("lr"), g.get("weight_decay")) for g in groups]
    assert len(set(settings)) == len(settings)
    grouped = set.union(*names_of(model, groups).values())
    assert grouped == {name for name, _ in model.named_parameters() if not name.startswith("conv1")}


def test_layer_decay_falls_from_the_head_to_the_stem():
    model = timm.create_model("test_vit", num_classes=3)
    node = {"_target_": "hookline.optim.param_groups.LayerDecay", "layer_decay": 0.5}
    groups = make_groups(model, node, BaseValues(1.0, 0.1))
    lr = {name: g["lr"] for g in groups for name in names_of(model, [g])[g["name"]]}
    decay = {name: g["weight_decay"] for g in groups for name in names_of(model, [g])[g["name"]]}
    assert lr["head.weight"] == 1.0
    blocks = len(model.blocks)  # type: ignore[arg-type]
    assert [lr[f"blocks.{i}.attn.qkv.weight"] for i in range(blocks)] == [0.5 ** (blocks - i) for i in range(blocks)]
    assert lr["patch_embed.proj.weight"] == 0.5 ** (blocks + 1)
    assert decay["head.weight"] == 0.1
    assert decay["pos_embed"] == decay["head.bias"] == 0
    assert groups[0]["name"].startswith("layer0")


@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext", "test_byobnet", "test_mambaout"])
def test_layer_decay_takes_models_of_every_kind(name):
    model = timm.create_model(name, num_classes=3)
    groups = make_groups(
        model, {"_target_": "hookline.optim.param_groups.LayerDecay", "min_scale": 0.2}, BaseValues(1.0, 0.1)
    )
    assert min(g["lr"] for g in groups) >= 0.2
    assert max(g["lr"] for g in groups) == 1.0
    assert len(groups) > 4


HEADS = {
    "resnet18": ["fc"],
    "test_vit": ["head"],
    "test_convnext": ["head.fc"],
    "mobilenetv3_small_100": ["classifier"],
    "levit_128s": ["head.linear", "head.bn", "head_dist.linear", "head_dist.bn"],
    "volo_d1_224": ["head", "aux_head"],
}


@pytest.mark.parametrize("name", HEADS)
def test_head_lr_mult_finds_the_classifier_of_any_timm_model(name):
    model = timm.create_model(name, num_classes=3)
    groups = Paramwise(head_lr_mult=10)(model, 0.1, None)
    got = {g["name"]: (g["lr"], names_of(model, [g])[g["name"]]) for g in groups}
    assert got["head"][0] == 1.0
    assert got["head"][1] == {f"{module}.{part}" for module in HEADS[name] for part in ("weight", "bias")}
    assert {n for n, p in model.named_parameters() if p.shape[:1] == (3,)} <= got["head"][1]


@pytest.mark.parametrize(
    "kind",
    [
        *("RmsNorm", "RmsNormFp32", "RmsNorm2d", "RmsNorm2dFp32", "SimpleNorm2d", "SimpleNorm2dFp32", "LayerNorm2d"),
        *("RmsNormAct2d", "GroupNormAct", "BatchNormAct2d", "EvoNorm2dB0", "EvoNorm2dS0a", "FilterResponseNormTlu2d"),
    ],
)
def test_every_norm_of_timm_is_one(kind):
    arguments = {"num_groups": 2} if kind == "GroupNormAct" else {}
    model = nn.Sequential(nn.Conv2d(4, 4, 1), getattr(timm.layers, kind)(4, **arguments))
    groups = Paramwise(norm_decay_mult=0)(model, 0.1, 0.01)
    decay = {name: g["weight_decay"] for g in groups for name in names_of(model, [g])[g["name"]]}
    assert {name for name, value in decay.items() if value == 0} == {n for n in decay if n.startswith("1.")} != set()


def test_a_model_of_rms_norms_is_not_decayed_in_its_norms():
    model = timm.create_model("convnext_zepto_rms", num_classes=3)
    groups = Paramwise(norm_decay_mult=0, bias_decay_mult=0)(model, 0.1, 0.01)
    decayed = set.union(*(names_of(model, [g])[g["name"]] for g in groups if g["weight_decay"] != 0))
    flat = {name for name, parameter in model.named_parameters() if name in decayed and parameter.ndim == 1}
    assert all(name.endswith(("gamma", "conv_dw.bias")) for name in flat), flat


def test_a_stem_of_one_channel_is_no_depthwise_convolution():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=4))
    groups = Paramwise(dwconv_decay_mult=0)(model, 0.1, 0.01)
    assert {g["weight_decay"]: names_of(model, [g])[g["name"]] for g in groups} == {
        0.01: {"0.weight", "0.bias"},
        0.0: {"1.weight", "1.bias"},
    }


def test_shared_parameters_are_an_error_unless_bypassed():
    model = Net()
    model.tied = nn.Linear(4, 4)
    model.tied.weight = model.body.weight
    with pytest.raises(ConfigError, match=r"param_groups\.bypass_duplicate=false: must be true: tied\.weight"):
        make_groups(model, {"_target_": "hookline.optim.param_groups.Paramwise"}, BaseValues(0.1, None))
    groups = Paramwise(bypass_duplicate=True)(model, 0.1, None)
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["custom_keys={laier1:{lr_mult:0.1}}"], r"custom_keys=laier1: must be a part .* Did you mean 'layer1'"),
        (["custom_keys={layer1:{lr_mul:0.1}}"], r"custom_keys\.layer1\.lr_mul=0\.1: .*Did you mean 'lr_mult'"),
        (["custom_keys={layer1:{lr_mult:-1}}"], r"custom_keys\.layer1\.lr_mult=-1: must be a number >= 0"),
        (["norm_decay_mult=-1"], r"norm_decay_mult=-1: must be a number >= 0"),
        (["norm_decay_mul=0"], r"norm_decay_mul: .*norm_decay_mult|norm_decay_mul"),
    ],
)
def test_wrong_paramwise_settings(overrides, message, runner):
    with pytest.raises(Exception, match=message):
        runner("param_groups=paramwise", *[f"param_groups.{o}" for o in overrides])


@pytest.mark.parametrize("decay", ["optimizer.weight_decay=0", "~optimizer.weight_decay"])
@pytest.mark.parametrize("setting", ["bias_decay_mult=0", "custom_keys={layer1:{decay_mult:0}}"])
def test_decay_multipliers_need_a_weight_decay(decay, setting, runner):
    key = setting.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"param_groups\.{key}.*=0: must be null: .*optimizer\.weight_decay"):
        runner("param_groups=paramwise", decay, f"param_groups.{setting}")


def test_own_constructor_by_target(monkeypatch, tmp_path, runner):
    (tmp_path / "elsewhere_groups.py").write_text(
        "def biases_apart(model, lr, weight_decay, *, factor):\n"
        "    named = list(model.named_parameters())\n"
        "    return [{'params': [p for n, p in named if n.endswith('bias')], 'lr': lr * factor, 'name': 'biases'},\n"
        "            {'params': [p for n, p in named if not n.endswith('bias')]}]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run = runner(
        "param_groups._target_=elsewhere_groups.biases_apart", "+param_groups._partial_=true", "+param_groups.factor=2"
    )
    assert [(g["name"], g["lr"]) for g in run.optimizer.param_groups] == [("biases", 0.2), ("group1", 0.1)]


def test_table_and_csv(tmp_path):
    model = Net()
    optimizer = build_optimizer(
        {"_target_": "torch.optim.SGD", "lr": 0.1, "weight_decay": 5e-4},
        model,
        {"_target_": "hookline.optim.param_groups.Paramwise", "head_lr_mult": 3.0},
    )
    assert [line.split() for line in groups_table(optimizer).splitlines()] == [
        ["group", "tensors", "parameters", "lr", "weight", "decay"],
        ["base", "7", "48", "0.1", "0.0005"],
        ["head", "2", "10", "0.3", "0.0005"],
    ]
    optimizer.param_groups[0]["initial_lr"], optimizer.param_groups[0]["lr"] = 0.1, 0.05  # as a schedule leaves it
    write_groups_csv(tmp_path / "a" / "param_groups.csv", model, optimizer)
    rows = list(csv.DictReader((tmp_path / "a" / "param_groups.csv").open()))
    assert [row["parameter"] for row in rows] == [name for name, _ in model.named_parameters()]
    assert rows[-1] == {"parameter": "head.bias", "group": "head", "lr": repr(0.1 * 3.0), "weight_decay": "0.0005"}
    assert rows[1]["lr"] == "0.1"
