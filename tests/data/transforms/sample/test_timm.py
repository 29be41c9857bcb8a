"""Validation images are timm's for the model: the same size and place, and predictions image by image."""

from __future__ import annotations

import io
from copy import deepcopy

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from tests.conftest import thinned
from timm.data import create_transform, resolve_model_data_config
from torchvision.transforms.v2 import functional as F

from hookline.data.randomness import sample_generator
from hookline.experiment import build_source
from hookline.experiment.augment import build_augment, normalization, resolve_augment

RANDOM = sample_generator(0, 0, "none", 0)
SIZES = [(500, 375), (375, 500), (333, 500), (640, 427), (224, 224), (256, 256), (160, 90), (97, 301), (64, 48)]


def photograph(width: int, height: int, number: int) -> Image.Image:
    """Return an image with smooth parts, edges and noise, after JPEG (odd numbers) or PNG."""
    generator = np.random.default_rng(number)
    smooth = Image.fromarray(generator.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize((width, height), 3)
    pixels = np.asarray(smooth).astype(int) + generator.integers(-12, 13, (height, width, 3))
    for _ in range(8):
        top, left = int(generator.integers(height)), int(generator.integers(width))
        pixels[top : top + height // 4, left : left + width // 5] = generator.integers(0, 256, 3)
    content = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(content, "JPEG" if number % 2 else "PNG")
    return Image.open(content).convert("RGB")


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    return [photograph(width, height, number) for number, (width, height) in enumerate([*SIZES, *SIZES[:5]])]


@pytest.fixture
def colour_source(config):
    """Return a function: a source of the config's whose images are of three channels, as far as it is asked."""

    def make(cfg):
        source = build_source(deepcopy(cfg), "train")
        source.channels = 3
        return source

    return make


def ours(cfg, source, image: Image.Image) -> torch.Tensor:
    tensor = F.pil_to_tensor(image)
    for transform in build_augment(cfg, "val").values():
        tensor = transform(tensor, RANDOM)
    return normalization(cfg, source)(tensor.unsqueeze(0), torch.empty(1, 0))[0]


@pytest.mark.parametrize(
    ("name", "at"),
    thinned([("test_resnet", "auto"), ("test_vit", "auto"), ("resnet18", "auto"), ("resnet18", "test")], 2),
)
def test_predictions_are_those_of_timms_pipeline(config, colour_source, photographs, name, at):
    cfg = config("augment=imagenet", "model=timm", f"model.model_name={name}", f"augment.size={at}")
    source = colour_source(cfg)
    resolve_augment(cfg, source)
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=1000).eval()
    theirs = create_transform(**resolve_model_data_config(model, use_test_size=at == "test"), is_training=False)
    want = torch.stack([theirs(image) for image in photographs])
    got = torch.stack([ours(cfg, source, image) for image in photographs])
    # In grey levels: torch rounds the weights of a resizing to 16 bits, Pillow to 22.
    std = torch.tensor(cfg.augment.std).view(3, 1, 1)
    levels = (got - want).mul(255 * std).abs()
    assert levels.max() < 2.01
    assert (levels > 0.5).float().mean() < 0.01
    with torch.inference_mode():
        a, b = model(got), model(want)
    assert torch.equal(a.argmax(1), b.argmax(1))
    assert (a - b).abs().max() < 0.01 * b.std()


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("size", "crop_pct"), [(96, 0.875), ([128, 96], 0.95), (32, 1.0)])
def test_every_crop_mode_is_timms(config, colour_source, photographs, mode, interpolation, size, crop_pct):
    cfg = config(
        *("augment=imagenet", "model=test_resnet", f"augment.size={size}", f"augment.crop_pct={crop_pct}"),
        *(f"augment.interpolation={interpolation}", f"augment.crop_mode={mode}"),
    )
    source = colour_source(cfg)
    resolve_augment(cfg, source)
    height, width = size if isinstance(size, list) else (size, size)
    theirs = create_transform(
        (3, height, width), crop_pct=crop_pct, crop_mode=mode, interpolation=interpolation, mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )  # fmt: skip
    for image in photographs[:9]:
        levels = (ours(cfg, source, image) - theirs(image)).mul(127.5).abs()
        # Where a side shrinks much more than the other, Pillow 13 begins with it, and rounds in between. An error of a
        # pixel in size or place is much larger.
        assert levels.max() < 8
        assert levels.mean() < 0.2


def test_torchvisions_weights_say_what_they_were_made_for(config, colour_source, photographs):
    from torchvision.models import ResNet50_Weights

    weights = ResNet50_Weights.IMAGENET1K_V2  # resizes to 232 for 224
    cfg = config("augment=imagenet", "model=torchvision", "model.name=resnet50", "model.weights=IMAGENET1K_V2")
    source = colour_source(cfg)
    resolve_augment(cfg, source)
    for image in photographs[:9]:
        want = weights.transforms()(image)
        assert (ours(cfg, source, image) - want).abs().max() < 2.01 / (255 * 0.224)
