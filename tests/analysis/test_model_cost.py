"""Costs agree with what timm, torchvision and papers publish, and with what can be counted by hand."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn
from torchvision.models import get_model, get_model_weights

from hookline.analysis.model_cost import stage_costs, total_cost
from hookline.analysis.speed import measure, peak_bytes, weight_bytes
from hookline.models.deployed import deployed_form

# GMACs and millions of activations that timm publishes, counted by fvcore, which counts normalisation, too: of
# convolutional models in results/benchmark-infer-amp-nhwc-pt210-cu121-rtx3090.csv, of transformers on their pages on
# the Hub, rounded to a digit, as the file leaves out the products of attention.
TIMM = {
    "mobilenetv3_small_100": (0.06, 1.42),
    "resnet50": (4.11, 11.11),
    "convnext_tiny": (4.47, 13.44),
    "vit_small_patch16_224": (4.6, 11.9),
    "swin_tiny_patch4_window7_224": (4.5, 17.1),
}
IMAGE = torch.zeros(1, 3, 224, 224)


@pytest.mark.parametrize("name", TIMM)
def test_they_are_those_that_timm_publishes(name):
    total = total_cost(name, stage_costs(timm.create_model(name), IMAGE))
    macs, activations = TIMM[name]
    assert total.macs / 1e9 == pytest.approx(macs, abs=0.03)
    assert total.activations / 1e6 == pytest.approx(activations, abs=0.06)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "vit_b_16", "squeezenet1_1"])
def test_they_are_those_that_torchvision_publishes(name):
    published = get_model_weights(name).DEFAULT.meta
    total = total_cost(name, stage_costs(get_model(name), IMAGE))
    assert total.macs / 1e9 == pytest.approx(published["_ops"], abs=6e-4)
    assert total.parameters == published["num_params"]


def test_stages_are_the_model_s_own_and_blocks_are_taken_apart():
    names = [stage.name for stage in stage_costs(timm.create_model("resnet18"), IMAGE)]
    assert names == ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
    stages = stage_costs(timm.create_model("test_vit"), torch.zeros(1, 3, 160, 160))
    assert [stage.name for stage in stages if stage.name.startswith("blocks.")][:2] == ["blocks.0", "blocks.1"]
    assert stages[-1].name == "(rest)"  # the position embedding belongs to no part


class Net(nn.Module):
    """A list of layers, one of them called twice, and a product of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 4, 1, bias=False)])
        self.head = nn.Linear(4, 5)
        self.scale = nn.Parameter(torch.ones(5, 5))

    def forward(self, x):
        x = self.layers[1](self.layers[1](self.layers[0](x)))
        return self.head(x.mean((2, 3))) @ self.scale


def test_they_are_what_a_hand_counts():
    model = Net()
    model.head.train()
    stages = {stage.name: stage for stage in stage_costs(model, torch.zeros(1, 3, 10, 10))}
    assert {name: stage.parameters for name, stage in stages.items()} == {
        **{"layers.0": 3 * 4 * 9, "layers.1": 16, "head": 25},
        "(rest)": 25,
    }
    assert {name: stage.macs for name, stage in stages.items()} == {
        **{"layers.0": 64 * 3 * 4 * 9, "layers.1": 2 * 64 * 16, "head": 20},
        "(rest)": 25,
    }
    assert {name: stage.activations for name, stage in stages.items()} == {
        **{"layers.0": 64 * 4, "layers.1": 2 * 64 * 4, "head": 5},
        "(rest)": 5,
    }
    assert model.head.training


def test_the_memory_of_a_pass_is_what_is_alive_at_its_worst_moment():
    model = nn.Sequential(*[nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(5)])
    images = torch.zeros(2, 8, 16, 16)
    # The batch, which the caller holds, and the input and output of a layer.
    assert peak_bytes(model.requires_grad_(False), images) == 3 * images.nbytes
    assert weight_bytes(model) == 5 * 8 * 8 * 9 * 4
    speed = measure(model, model, images, seconds=0.01)
    assert (speed.batch_size, speed.memory) == (2, 3 * images.nbytes + weight_bytes(model))
    assert speed.images_per_second == pytest.approx(2 / speed.seconds)


def test_views_and_changes_in_place_take_no_memory():
    class Views(nn.Module):
        def forward(self, x):
            return torch.relu_((x + 1).flatten(1).view(-1)).reshape(x.shape)

    images = torch.zeros(1, 4, 8, 8)
    assert peak_bytes(Views(), images) == 2 * images.nbytes


@pytest.mark.parametrize("name", ["repvgg_a0", "mobileone_s0", "fastvit_t8", "repvit_m0_9", "levit_128s", "resnet10t"])
def test_the_deployed_form_has_the_same_outputs_and_never_more_parts(name):
    model = timm.create_model(name, num_classes=5).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):  # as after a training
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
        size = 224 if name == "levit_128s" else 64
        images = torch.randn(2, 3, size, size, generator=generator)
        deployed = deployed_form(model)
        expected = model(images)
        assert torch.allclose(deployed(images), expected, atol=1e-3 * max(1, float(expected.abs().max())))
    parts = [sum(1 for _ in its.modules()) for its in (deployed, model)]
    assert parts[0] == parts[1] if name == "resnet10t" else parts[0] < parts[1]
