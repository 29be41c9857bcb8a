"""What is frozen stays, and what is set free is trained."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from hookline.config.errors import ConfigError, ParameterError
from hookline.optim.freeze import Freeze


def test_patterns_are_names_modules_and_globs():
    model = timm.create_model("test_resnet", num_classes=3)
    names = [name for name, _ in model.named_parameters()]
    for pattern, fitting in {
        "conv1": [n for n in names if n.startswith("conv1.")],
        "bn1.bias": ["bn1.bias"],
        "layer*": [n for n in names if n.startswith("layer")],
        "layer?.0.conv1": [n for n in names if n.startswith("layer") and ".0.conv1." in n],
        "*.bias": [n for n in names if n.endswith(".bias")],
    }.items():
        assert fitting, pattern
        assert list(Freeze(patterns=[pattern]).select(model)) == fitting


@pytest.mark.parametrize(
    ("name", "until", "inside", "outside"),
    [
        ("resnet18", "layer2", ["conv1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer2.1.bn2.bias"], "layer3"),
        (
            "test_vit",
            "blocks.1",
            ["cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.norm1.weight"],
            "blocks.2",
        ),
        ("test_convnext", "stages.1", ["stem.0.weight", "stages.0.blocks.0.norm.weight"], "stages.2"),
        ("test_efficientnet", "blocks.1", ["conv_stem.weight", "bn1.weight"], "blocks.2"),
    ],
)
def test_until_freezes_from_the_stem_up(name, until, inside, outside):
    model = timm.create_model(name, num_classes=3)
    frozen = Freeze(until=until).select(model)
    assert set(inside) <= set(frozen)
    assert {n for n, _ in model.named_parameters() if n.startswith(f"{until}.")} <= set(frozen)
    assert not any(n.startswith((f"{outside}.", "fc.", "head.", "classifier.")) for n in frozen)


def test_frozen_parameters_and_statistics_stay_and_are_in_no_group(runner):
    run = runner("freeze.until=layer1", "runner.max_iters=3", "optimizer.weight_decay=0.1")
    model = run.model
    grouped = {id(p) for g in run.optimizer.param_groups for p in g["params"]}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run.run()
    for name, parameter in model.named_parameters():
        frozen = name.startswith(("conv1", "bn1", "layer1"))
        assert (id(parameter) in grouped) != frozen, name
        assert torch.equal(parameter, before[name]) == frozen, name
    after = model.state_dict()
    assert torch.equal(after["bn1.running_mean"], before["bn1.running_mean"])
    assert not torch.equal(after["layer4.0.bn1.running_mean"], before["layer4.0.bn1.running_mean"])


def test_norm_eval_false_lets_statistics_move(runner):
    run = runner("freeze.until=layer1", "freeze.norm_eval=false", "runner.max_iters=2")
    before = run.model.bn1.running_mean.clone()
    run.run()
    assert not torch.equal(run.model.bn1.running_mean, before)


def test_a_validation_leaves_frozen_norms_in_eval_mode(runner):
    run = runner("freeze.until=layer1", "runner.max_iters=2")
    run.update.begin_epoch(0)
    run.evaluate()
    assert not run.model.bn1.training
    assert run.model.layer4[0].bn1.training
    assert run.model.training


def test_unfreezing_at_an_epoch_with_the_schedule_of_that_epoch(runner):
    run = runner(
        *("freeze=backbone", "freeze.epochs=2", "lr_schedule=exp", "lr_schedule.gamma=0.5"),
        *("runner.max_iters=null", "runner.max_epochs=3", "data.batch_size=720"),
    )
    names = {id(p): n for n, p in run.model.named_parameters()}
    assert {names[id(p)] for g in run.optimizer.param_groups for p in g["params"]} == set(names.values())
    before = run.model.conv1[0].weight.detach().clone()
    run.call("before_run")
    for epoch in range(3):
        run.train_epoch()
        assert torch.equal(run.model.conv1[0].weight, before) == (epoch < 2)
        assert run.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**epoch)
    assert run.model.bn1.training


@pytest.mark.parametrize("epochs", ["null", "1"])
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("patterns=[laier1]", r"freeze\.patterns=laier1: .* Did you mean 'layer1'"),
        ("until=layer9", r"freeze\.until=layer9: .* Did you mean 'layer"),
        ("until=fc", r"freeze\.until=fc: .*all parameters of the model would be frozen"),
        ("patterns=['*']", r"freeze\.patterns=.*all parameters of the model would be frozen"),
    ],
)
def test_wrong_freezing(setting, message, epochs, runner):
    with pytest.raises(ConfigError, match=message):
        runner(f"freeze.{setting}", f"freeze.epochs={epochs}")


def test_backbone_needs_a_known_head():
    with pytest.raises(ParameterError, match="classifier is unknown"):
        Freeze(backbone=True).select(nn.Sequential(nn.Conv2d(1, 1, 1)))


def test_models_without_layers_of_timm_freeze_in_the_order_of_their_parameters():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    freeze = Freeze(until="1")
    assert list(freeze.select(model)) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert freeze.norms(model) == [model[1]]


def test_an_epoch_sets_the_model_as_it_has_to_be():
    model = timm.create_model("test_resnet", num_classes=3)
    freeze = Freeze(until="layer1", epochs=2)
    for epoch in (0, 1, 2):
        model.train()
        freeze.apply(model, epoch)
        assert model.conv1[0].weight.requires_grad == (epoch == 2)
        assert model.bn1.training == (epoch == 2)
        assert model.layer4[0].conv1.weight.requires_grad
        assert model.layer4[0].bn1.training


def test_a_frozen_norm_without_parameters_stays_too():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3)
            self.norm = nn.BatchNorm2d(4, affine=False)
            self.fc = nn.Linear(4, 2)
            self.last = nn.BatchNorm1d(2, affine=False)

    model = Net().train()
    Freeze(backbone=True).apply(model, 0)
    assert not model.norm.training
    assert model.last.training


def test_the_backbone_does_not_hold_the_heads_own_norm():
    model = timm.create_model("levit_128s", num_classes=3)
    frozen = Freeze(backbone=True).select(model)
    assert "head.bn.weight" not in frozen
    assert set(dict(model.named_parameters())) - set(frozen) == {
        f"{head}.{module}.{part}"
        for head in ("head", "head_dist")
        for module in ("bn", "linear")
        for part in ("weight", "bias")
    }
