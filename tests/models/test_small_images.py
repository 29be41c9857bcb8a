"""ResNets whose stem keeps the size of small images."""

from __future__ import annotations

import pytest
import torch

from hookline.config.errors import ConfigError
from hookline.models.build import build_model


def test_the_stem_keeps_the_size_of_the_image(option):
    with torch.device("meta"):
        model = build_model(option("model", "resnet18_small"), num_classes=10, in_chans=1, img_size=32)
        assert model.forward_features(torch.zeros(2, 1, 32, 32)).shape == (2, 512, 4, 4)
        assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 10)


def test_weights_of_a_file_are_taken(option, tmp_path):
    node = option("model", "resnet18_small")
    first = build_model(node, num_classes=10, in_chans=3, img_size=32)
    torch.save(first.state_dict(), tmp_path / "weights.pt")
    node.checkpoint_path = str(tmp_path / "weights.pt")
    second = build_model(node, num_classes=10, in_chans=3, img_size=32)
    assert torch.equal(first.conv1.weight, second.conv1.weight)


@pytest.mark.parametrize("name", ["resnet50d", "vit_tiny_patch16_224"])
def test_a_model_with_another_stem_is_refused(option, name):
    node = option("model", "resnet18_small", model_name=name)
    expected = f"^model.model_name={name}: must be a ResNet whose first layer is one convolution, such as resnet18"
    with pytest.raises(ConfigError, match=expected):
        build_model(node, num_classes=10, in_chans=3, img_size=32)
