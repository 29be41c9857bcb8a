"""The group `augment`: what `auto` becomes, what is built, and what is refused."""

from __future__ import annotations

import logging
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from tests.conftest import CONF, thinned

from hookline.commands.train import keep_chosen
from hookline.config.errors import ConfigError
from hookline.data import Digits
from hookline.data.randomness import sample_generator
from hookline.experiment import build_source
from hookline.experiment.augment import build_augment, normalization, resolve_augment

OPTIONS = sorted(path.stem for path in (CONF / "augment").glob("*.yaml"))
OF_THE_ISSUE = [
    "augmix",
    "autoaugment",
    "flip_crop",
    "imagenet",
    "none",
    "randaugment",
    "three_augment",
    "trivialaugment",
]
PACKAGE = "hookline.data.transforms.sample"


@pytest.fixture
def resolved(config):
    """Return a function: the config with these overrides, `auto` replaced, for data of this many channels."""

    def make(*overrides: str, channels: int = 3):
        cfg = config(*overrides)
        source = Digits(split="train")
        source.channels = channels
        resolve_augment(cfg, source)
        return cfg

    return make


def test_the_options():
    assert OPTIONS == OF_THE_ISSUE


@pytest.mark.parametrize("name", thinned(OPTIONS, 2))
@pytest.mark.parametrize("further", [[], ["augment.train.color_jitter.p=1", "augment.train.erasing.p=1"]])
def test_each_option_makes_images_of_the_models_size(resolved, name, further):
    if name == "none" and further:
        pytest.skip("it has no transforms")
    cfg = resolved(f"augment={name}", "model=resnet18", *further)
    photo = torch.randint(0, 256, (3, 97, 130), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for split in ("train", "val"):
        image = photo
        for key, transform in build_augment(cfg, split).items():
            image = transform(image, sample_generator(0, 0, key, 0))
        assert image.dtype == torch.uint8
        assert image.shape == ((3, 97, 130) if name in ("none", "flip_crop") else (3, 224, 224))
    assert {"color_jitter", "erasing"} <= build_augment(cfg, "train").keys() or not further


def test_jitter_and_erasing_are_off_by_default(resolved):
    assert list(build_augment(resolved("augment=imagenet"), "train")) == ["crop", "flip"]


def test_auto_becomes_the_models_own_and_is_printed(resolved, caplog):
    with caplog.at_level(logging.INFO):
        cfg = resolved("augment=imagenet", "model=resnet18", "augment.crop_pct=0.9")
    assert OmegaConf.to_container(cfg.augment, resolve=True)["val"]["resize"] == {
        "_target_": f"{PACKAGE}.Resize",
        "size": 224,
        "crop_pct": 0.9,
        "crop_mode": "center",
        "interpolation": "bicubic",
    }
    assert cfg.augment.mean == [0.485, 0.456, 0.406]
    assert [record.getMessage() for record in caplog.records] == [
        "images: size 224x224, interpolation bicubic, crop mode center, mean (0.485, 0.456, 0.406), std (0.229, 0.224,"
        " 0.225) (from timm's resnet18.a1_in1k); crop ratio 0.9 (from the config)"
    ]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model=resnet18"], {"size": 224, "crop_pct": 0.95}),
        (["model=resnet18", "augment.size=test"], {"size": 288, "crop_pct": 1.0}),
        (["model=resnet18", "augment.size=128"], {"size": 128, "crop_pct": 0.95}),
        (["model=timm", "model.model_name=resnet18.tv_in1k"], {"interpolation": "bilinear", "crop_pct": 0.875}),
        (["model=vit_tiny", "model.img_size=32"], {"size": 32, "mean": [0.5, 0.5, 0.5]}),
        (["model=resnet18", "+model.pretrained_cfg_overlay={crop_mode:border}"], {"crop_mode": "border"}),
        (
            ["model=torchvision", "model.weights=DEFAULT"],
            {"size": 224, "interpolation": "bilinear", "crop_pct": 0.875, "mean": [0.485, 0.456, 0.406]},
        ),
        (
            ["model=torchvision"],
            {"size": 224, "interpolation": "bilinear", "crop_pct": 0.875, "crop_mode": "center", "mean": [0.305434]},
        ),
        (["model=resnet18", "augment.mean=null", "augment.std=[0.5]"], {"mean": [0.305434], "std": [0.5]}),
    ],
)
def test_what_auto_becomes(resolved, overrides, expected):
    augment = OmegaConf.to_container(resolved("augment=imagenet", *overrides).augment, resolve=True)
    assert {key: augment[key] for key in expected} == expected


def test_other_channels_than_the_models_are_normalised_by_the_data(resolved):
    assert resolved("augment=imagenet", "model=resnet18", channels=1).augment.mean == [0.305434]


def test_without_an_option_nothing_changes(config):
    cfg = config()
    before = OmegaConf.to_yaml(cfg)
    source = build_source(deepcopy(cfg), "train")
    resolve_augment(cfg, source)
    assert OmegaConf.to_yaml(cfg) == before
    assert build_augment(cfg, "train") == build_augment(cfg, "val") == {}
    pixels = source.images.double() / 255
    assert normalization(cfg, source).mean == pytest.approx([pixels.mean().item()])
    assert normalization(cfg, source).std == pytest.approx([pixels.std(correction=0).item()])


def test_a_data_option_chooses_an_option_and_the_command_line_has_the_last_word(tmp_path, run_task):
    folder = tmp_path / "local" / "conf" / "data"
    folder.mkdir(parents=True)
    (folder / "photos.yaml").write_text(
        "defaults:\n  - digits\n  - override /augment@_global_.augment: imagenet\n  - _self_\n"
    )
    (folder / "own.yaml").write_text(
        "defaults:\n  - photos\n  - override /augment@_global_.augment: randaugment\n  - _self_\n"
    )
    seen = []

    def task(cfg):
        seen.append(list(cfg.augment.train))

    for overrides in (["data=photos"], ["data=photos", "augment=none"], ["augment=none", "data=photos"], ["data=own"]):
        assert run_task(task, "train", *overrides).status == 0
    assert seen[0][:2] == ["crop", "flip"]
    assert seen[1] == seen[2] == []
    assert "randaugment" in seen[3]


@pytest.mark.parametrize(
    ("overrides", "message"),
    thinned(
        [
            (["augment=imagenet", "augment.size=0"], "augment.size=0: must be an integer > 0"),
            (["augment=imagenet", "augment.size=big"], "augment.size=big: must be an integer > 0"),
            (
                ["augment=imagenet", "augment.interpolation=box"],
                "augment.interpolation=box: must be one of nearest, bil",
            ),
            (
                ["augment=imagenet", "augment.crop_mode=left"],
                "augment.crop_mode=left: must be one of center, squash, border",
            ),
            (["augment=imagenet", "augment.crop_pct=0"], "augment.crop_pct=0: must be a number > 0"),
            (
                ["augment=imagenet", "augment.crop_pct=1e-9"],
                "augment.crop_pct=1e-09: must be such that size / crop_pct",
            ),
            (
                ["augment=imagenet", "augment.size=100000000"],
                "augment.size=100000000: must be an integer > 0 and <= 16384",
            ),
            (["augment=imagenet", "augment.mean=5"], "augment.mean=5: must be a list with a number for each channel"),
            (["augment=imagenet", "augment.mean=[a,b,c]"], "augment.mean=a: must be a number >= 0 and <= 1"),
            (["augment=imagenet", "augment.mean=[nan,0,0]"], "augment.mean=nan: must be a number >= 0 and <= 1"),
            (["augment=imagenet", "augment.mean=[300,0,0]"], "augment.mean=300: must be a number >= 0 and <= 1"),
            (["augment=imagenet", "augment.std=[0,1,1]"], "augment.std=0: must be a number > 0"),
            (["augment=imagenet", "augment.train=[a]"], "augment.train=[a]: must be a mapping"),
            (["augment=imagenet", "augment.train.flip.p=2"], "augment.train.flip.p=2: must be a number >= 0 and <= 1"),
            (["augment=imagenet", "augment.train.flip.q=2"], None),
            (
                ["augment=imagenet", "augment.train.flip=5"],
                "augment.train.flip=5: must be a mapping, in which _target_",
            ),
            (["augment=imagenet", "augment.train=5"], "augment.train=5: must be a mapping"),
            (["augment=imagenet", "augment.scale=1"], None),
            (["augment=imagenet", "+augment.scale=1"], "augment.scale: there is no such key. There is: size"),
            (["augment.size=128"], "augment.size: there is no such key"),
            (
                [f"+augment.train.flip._target_={PACKAGE}.RandomHorizontalFlip", "+augment.train.flip.p=yes"],
                "augment.train.flip.p=",
            ),
            (
                ["+augment.train.flip._target_=hookline.data.RandomHorizontalFlip"],
                "augment.train.flip._target_=hookline.data.RandomHorizontalFlip: must name a subclass of"
                " hookline.data.SampleTransform, or a transform of torchvision.transforms.v2",
            ),
            (
                [f"+augment.val.flip._target_={PACKAGE}.RandomHorizontalFlip"],
                "augment.val.flip=RandomHorizontalFlip: must be a transform without randomness",
            ),
            (
                ["+augment.train.turn._target_=torchvision.transforms.v2.RandomRotation"],
                "augment.train.turn.degrees: is missing",
            ),
        ]
    ),
)
def test_mistakes_are_told_by_their_key(run_task, overrides, message):
    def task(cfg):
        source = build_source(deepcopy(cfg), "train")
        resolve_augment(cfg, source)
        for split in ("train", "val"):
            build_augment(cfg, split)

    done = run_task(task, "train", *overrides)
    assert done.status == 2
    assert (message or f"{overrides[-1].partition('=')[0]}: there is no such key") in done.err


def test_mean_needs_a_number_for_each_channel(resolved):
    cfg = resolved("augment=imagenet", "augment.mean=[0.5,0.5]")
    with pytest.raises(ConfigError, match=r"augment.mean=\[0.5, 0.5\]: must have a number for each of the data's 1"):
        normalization(cfg, build_source(deepcopy(cfg), "train"))


def test_one_number_stands_for_all_channels(resolved):
    cfg = resolved("augment=imagenet", "augment.mean=[0.5]", "augment.std=[0.2,0.2,0.2]", "data=cifar10")
    found = normalization(cfg, SimpleNamespace(channels=3))
    assert (found.mean, found.std) == ([0.5] * 3, [0.2] * 3)


def test_images_of_one_colour_need_a_deviation(config):
    cfg = config("augment=imagenet", "augment.mean=null", "augment.std=null")
    with pytest.raises(ConfigError, match=r"^augment\.std: the training images have a channel that is the same"):
        resolve_augment(cfg, SimpleNamespace(channels=1, mean_and_std=([0.5], [1e-8])))


@pytest.mark.parametrize("name", thinned(OPTIONS))
def test_a_run_that_goes_on_has_the_numbers_that_it_had(config, resolved, name):
    then, now = resolved(f"augment={name}", "model=resnet18", "augment.std=null"), config(f"augment={name}")
    keep_chosen(now, {"config": OmegaConf.to_yaml(then, resolve=True)})
    assert now.augment == then.augment


@pytest.mark.parametrize(
    "chosen", [{"_target_": "os.system", "command": "x"}, [{"_target_": "os.abort"}], "${oc.env:HOME}"]
)
def test_what_a_checkpoint_says_was_chosen_is_nothing_to_build(chosen, config):
    now = config("augment=imagenet")
    keep_chosen(now, {"config": yaml.safe_dump({"augment": {"size": chosen, "crop_pct": 0.5}})})
    assert (now.augment.size, now.augment.crop_pct) == ("auto", 0.5)


def test_any_v2_transform_is_taken(resolved):
    cfg = resolved("+augment.train.turn={_target_:torchvision.transforms.v2.RandomRotation,degrees:30}")
    (turn,) = build_augment(cfg, "train").values()
    image = torch.randint(0, 256, (3, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    turned = [turn(image, sample_generator(0, 0, "turn", 3)) for _ in range(2)]
    assert torch.equal(*turned)
    assert not torch.equal(turned[0], image)
