"""ResNets for images that are much smaller than ImageNet's."""

from __future__ import annotations

import timm
from timm.models.resnet import ResNet
from torch import nn

from hookline.config.errors import ParameterError
from hookline.models.build import check_timm_name


def small_image_resnet(
    model_name: str = "resnet18",
    *,
    num_classes: int,
    in_chans: int = 3,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
) -> nn.Module:
    """Return a ResNet of timm whose stem keeps the size of the image: a 3x3 convolution of stride 1, and no pooling.

    An image of 32x32 then has 4x4 places in front of the classifier, where timm's own stem leaves one. He et al. (2015,
    https://arxiv.org/abs/1512.03385, section 4.2) begin their networks for CIFAR in this way.

    Args:
        model_name: one of timm's ResNets whose first layer is a single convolution, such as resnet18 or resnet50.
        num_classes: outputs of the classifier.
        in_chans: channels of an image.
        drop_rate: dropout before the classifier, in [0, 1).
        drop_path_rate: stochastic depth, in [0, 1).
    """
    check_timm_name(model_name)
    model = timm.create_model(
        model_name, num_classes=num_classes, in_chans=in_chans, drop_rate=drop_rate, drop_path_rate=drop_path_rate
    )
    if not isinstance(model, ResNet) or not isinstance(model.conv1, nn.Conv2d):
        raise ParameterError(
            "model_name", model_name, "a ResNet whose first layer is one convolution, such as resnet18"
        )
    stem = nn.Conv2d(in_chans, model.conv1.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")  # as timm's own
    model.set_submodule("conv1", stem)
    model.set_submodule("maxpool", nn.Identity())
    return model
