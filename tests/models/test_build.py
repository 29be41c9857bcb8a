"""Models that cannot be built end in a message with the key."""

from __future__ import annotations

import re
import urllib.error
import urllib.request

import pytest

from hookline.config.errors import ConfigError
from hookline.models.build import build_model

TIMM = {"_target_": "timm.create_model", "pretrained": False, "model_name": "resnet18"}
TORCHVISION = {
    "_target_": "hookline.models.build.torchvision_model",
    "name": "resnet18",
    "num_classes": None,
    "in_chans": None,
}
CASES = [
    (TIMM, {"model_name": "vit_tiny_patch16_224", "patch_size": 0}, "patch_size=0: must be an integer > 0"),
    (TIMM, {"model_name": "swin_tiny_patch4_window7_224", "window_size": 0}, "window_size=0: must be an integer > 0"),
    (TIMM, {"model_name": "vit_tiny_patch16_224", "img_size": -4}, "img_size=-4: must be an integer > 0"),
    (TIMM, {"num_classes": "ten"}, "num_classes=ten: must be an integer > 0"),
    (TIMM, {"in_chans": 0}, "in_chans=0: must be an integer > 0"),
    (TIMM, {"drop_path_rate": 7}, "drop_path_rate=7: must be a number >= 0 and < 1"),
    (TIMM, {"global_pool": "nope"}, "global_pool=nope: .*Invalid pool type"),
    (TIMM, {"model_name": 5}, "model_name=5: must be the name of a timm model"),
    (TIMM, {"model_name": "resnet81"}, "model_name=resnet81: timm has no such model.*Did you mean 'resnet18'"),
    (TIMM, {"model_name": "hf-hub:nope/nope"}, "model_name=hf-hub:nope/nope: config.json of .*nope/nope is not in the"),
    (TIMM, {"model_name": "local-dir:/nowhere"}, "model_name=local-dir:/nowhere: there is no /nowhere/config.json"),
    (TIMM, {"model_name": "elsewhere:x"}, "model_name=elsewhere:x: must be a name of timm's, hf-hub:NAME or"),
    (TORCHVISION, {"name": "maskrcnn_resnet50_fpn"}, "name=maskrcnn_resnet50_fpn: must be a classification model"),
    (TORCHVISION, {"weights": "nope"}, "weights=nope: must be one of null, IMAGENET1K_V1, DEFAULT"),
    (TORCHVISION, {"weights": "DEFAULT"}, "num_classes=10: must be 1000, as in the weights DEFAULT"),
    (
        TORCHVISION,
        {"weights": "DEFAULT", "num_classes": 1000},
        "weights=DEFAULT: must be null where https://.*pth cannot be downloaded .*checkpoint_path=FILE",
    ),
]


@pytest.mark.parametrize(("node", "arguments", "message"), CASES, ids=[str(case[1]) for case in CASES])
def test_what_cannot_be_built_is_told_with_its_key(node, arguments, message, monkeypatch, tmp_path):
    from huggingface_hub import constants

    def unreachable(*arguments: object, **options: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=rf"^model\.{message}") as error:
        build_model(node | arguments, num_classes=10, in_chans=3, img_size=32)
    assert not re.search("\n.*\n", str(error.value))
