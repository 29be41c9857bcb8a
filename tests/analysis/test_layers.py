"""The layer to explain by is found in models of any family, by what its output is and does."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from timm.layers import PatchEmbed
from timm.models.deit import VisionTransformerDistilled
from timm.models.mlp_mixer import MlpMixer
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from hookline.analysis.layers import as_map, chosen_layers, map_layers
from hookline.config.errors import ConfigError

SMALL = {"img_size": 64, "num_classes": 3}
TOKENS = {**SMALL, "patch_size": 16, "embed_dim": 32}


def vit(**options):
    return timm.create_model("test_vit", **{**SMALL, **options})


# What makes a model, the size of its images, the layer that suits it, and the map's height and width.
FAMILIES = {
    "resnet": (lambda: timm.create_model("resnet10t", num_classes=3), (64, 64), "layer4", (2, 2)),
    "resnet, landscape": (lambda: timm.create_model("resnet10t", num_classes=3), (96, 160), "layer4", (3, 5)),
    "convnext": (lambda: timm.create_model("convnext_atto", num_classes=3), (64, 64), "norm_pre", (2, 2)),
    "efficientnet": (lambda: timm.create_model("efficientnet_b0", num_classes=3), (64, 64), "bn2", (2, 2)),
    "mobilenet": (lambda: timm.create_model("mobilenetv3_small_050", num_classes=3), (64, 64), "blocks", (2, 2)),
    "mobilevit": (lambda: timm.create_model("mobilevit_xxs", num_classes=3), (64, 64), "final_conv", (2, 2)),
    "vit": (vit, (64, 64), "blocks.5.norm1", (4, 4)),
    "vit, landscape": (lambda: vit(img_size=(32, 64)), (32, 64), "blocks.5.norm1", (2, 4)),
    "vit without a class token": (lambda: vit(class_token=False, global_pool="avg"), (64, 64), "norm", (4, 4)),
    "vit with registers": (lambda: vit(reg_tokens=4), (64, 64), "blocks.5.norm1", (4, 4)),
    "deit": (
        lambda: VisionTransformerDistilled(**TOKENS, depth=2, num_heads=2),
        *((64, 64), "blocks.1.norm1", (4, 4)),
    ),
    "swin": (
        lambda: SwinTransformer(**{**SMALL, "patch_size": 4, "embed_dim": 16, "window_size": 4, "depths": (2, 2)}),
        *((64, 64), "norm", (8, 8)),
    ),
    "mixer": (lambda: MlpMixer(**TOKENS, num_blocks=2), (64, 64), "norm", (4, 4)),
    "maxvit": (lambda: timm.create_model("test_maxvit", num_classes=3), (160, 160), "norm", (5, 5)),
    "torchvision's resnet": (lambda: torchvision.models.resnet18(num_classes=3), (64, 64), "layer4", (2, 2)),
    "torchvision's vit": (
        lambda: torchvision.models.VisionTransformer(64, 16, 2, 2, 32, 64, num_classes=3),
        *((64, 64), "encoder.layers.encoder_layer_1.ln_1", (4, 4)),
    ),
}


def made(family: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = FAMILIES[family][0]().eval()
    with torch.no_grad():  # some heads, and the last norms of residual blocks, begin at 0: nothing reaches the scores
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model, torch.randn(2, 3, *FAMILIES[family][1])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_layer(family):
    model, images = made(family)
    model.requires_grad_(False)  # as a frozen backbone is
    _, _, name, grid = FAMILIES[family]
    assert chosen_layers(model, images, None) == [name]
    (layer,) = (layer for layer in map_layers(model, images) if layer.name == name)
    assert layer.grid == grid
    assert layer.channels == getattr(model, "num_features", layer.channels)


def test_a_layer_may_be_given():
    model, images = made("resnet")
    assert chosen_layers(model, images, ["layer2", "layer3.0.conv1"]) == ["layer2", "layer3.0.conv1"]


@pytest.mark.parametrize(
    ("family", "name", "message"),
    [
        (
            "resnet",
            "layer5",
            r"layer=layer5: there is no such layer\. Did you mean 'layer4' .* layer4 \(what null chooses",
        ),
        ("resnet", "fc", "layer=fc: gives no map on which the classes' scores depend.* layer1, layer2"),
        ("resnet", "global_pool", "layer=global_pool: gives no map"),
        ("vit", "norm", "layer=norm: gives no map on which .* blocks.5.norm1"),  # only its class token counts
    ],
)
def test_an_unsuitable_layer_is_one_message_with_valid_ones(family, name, message):
    model, images = made(family)
    with pytest.raises(ConfigError, match=message) as error:
        chosen_layers(model, images, [name])
    assert "\n" not in str(error.value)


def test_a_model_without_maps_is_one_message():
    with pytest.raises(ConfigError, match="none of its layers gives a map of positions"):
        chosen_layers(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), torch.randn(1, 3, 8, 8), None)


def test_a_layer_that_is_used_twice_has_no_one_map():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 2)

        def forward(self, images):
            return self.head(self.conv(self.conv(images)).mean(dim=(2, 3)))

    with pytest.raises(ConfigError, match="none of its layers"):
        chosen_layers(Twice(), torch.randn(1, 3, 8, 8), None)


def test_every_layout_is_brought_to_one():
    rows = torch.arange(15.0).view(1, 1, 3, 5)
    expected = torch.cat([rows, rows + 100], dim=1)
    size = (96, 160)
    tokens = expected.flatten(2).transpose(1, 2)
    for output, prefix in (
        (expected, None),
        (expected.permute(0, 2, 3, 1), None),
        (tokens, None),
        (torch.cat([torch.zeros(1, 1, 2), tokens], dim=1), 1),
        (torch.cat([torch.zeros(1, 5, 2), tokens], dim=1), 5),
    ):
        found = as_map(output, size, prefix)
        assert found is not None
        assert torch.equal(found, expected)
        assert found.data_ptr() != output.data_ptr()  # what is done to the output in place does not change it
    for other in (torch.zeros(1, 10), torch.zeros(1, 512, 1, 1), torch.zeros(1, 1, 2), (expected,), None):
        assert as_map(other, size) is None


def test_patches_are_in_rows():
    embed = PatchEmbed(img_size=(32, 64), patch_size=16, in_chans=1, embed_dim=1, bias=False, strict_img_size=False)
    nn.init.constant_(embed.proj.weight, 1 / 256)
    image = torch.zeros(1, 1, 32, 64)
    image[:, :, 16:, 32:48] = 1
    found = as_map(embed(image), (32, 64))
    assert found is not None
    assert torch.equal(found[0, 0].round(), torch.tensor([[0.0, 0, 0, 0], [0, 0, 1, 0]]))
