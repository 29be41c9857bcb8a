"""Recipes: their settings, a run of each, and every option of the groups that a user exchanges in one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from hookline.analysis.lr_warnings import lr_warnings
from hookline.analysis.preview import compute
from hookline.commands.plot_lr import groups_of
from hookline.experiment import (
    build_clock,
    build_model_without_memory,
    build_optimizer,
    build_schedules,
    build_source,
    input_shape,
)
from hookline.experiment.augment import build_augment
from hookline.optim.group_curves import check_schedules
from tests.conftest import CONF, thinned
from tests.sets import write_data_of

RECIPES = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


# All recipes only choose options, and the next test says so: what can be exchanged in one can be in every other.
@pytest.fixture(params=[None, "fashion_mnist"], ids=lambda name: name or "default")
def recipe(request, config):
    """Return a function: the config of a preview of the recipe with these overrides."""
    chosen = [] if request.param is None else [f"experiment={request.param}"]
    return lambda *overrides: config(*chosen, *overrides, name="plot_lr")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_chooses_options_and_a_length(name):
    recipe = OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / f"{name}.yaml"))
    assert recipe.keys() == {"defaults", "runner"}
    assert recipe["runner"].keys() == {"max_epochs"}
    assert all(key.startswith("override /") for entry in recipe["defaults"] for key in entry)


@pytest.mark.parametrize("name", thinned(options("lr_schedule"), 5))
def test_lr_schedule(name, recipe):
    cfg = recipe(f"lr_schedule={name}")
    clock = build_clock(cfg, 40)
    schedules = build_schedules(cfg, clock)
    bases = groups_of(cfg, ["lr"])
    check_schedules(schedules, bases, clock)
    assert lr_warnings(schedules["lr"], bases["lr"], clock) == []
    values = compute(schedules, clock, bases).lr["base"]
    # It is no dead run: for more than half of it the rate is within two orders of magnitude of the base.
    assert sorted(values)[clock.max_iters // 2] > 0.01 * bases["lr"]["base"]


WARMED = ["optimizer=adamw", "momentum_schedule.warmup=linear", "momentum_schedule.warmup_iters=3"]


@pytest.mark.parametrize("overrides", [[], WARMED], ids=["", "adamw, warmed up"])
@pytest.mark.parametrize("name", [name for name in options("momentum_schedule") if name != "none"])
def test_momentum_schedule(name, overrides, recipe):
    cfg = recipe(f"momentum_schedule={name}", *overrides)
    clock = build_clock(cfg, 40)
    schedules = build_schedules(cfg, clock)
    bases = groups_of(cfg, list(schedules))
    check_schedules(schedules, bases, clock)
    assert all(0 <= value < 1 for value in compute(schedules, clock, bases).series["momentum"]["base"])


@pytest.mark.parametrize("name", thinned([name for name in options("optimizer") if name != "custom"], 5))
def test_optimizer(name, recipe):
    cfg = recipe(f"optimizer={name}")
    optimizer = build_optimizer(cfg, torch.nn.Conv2d(1, 2, 3))
    # The option's own learning rate, not that of the optimizer which the recipe would have chosen.
    assert optimizer.param_groups[0]["lr"] == OmegaConf.load(CONF / "optimizer" / f"{name}.yaml").lr


@pytest.mark.parametrize("name", thinned(options("model"), 5))
def test_model(name, recipe):
    cfg = recipe(f"model={name}", *(["model.model_name=resnet10t"] if name == "timm" else []))
    source = build_source(cfg, "train")
    model = build_model_without_memory(cfg, source).eval()
    with torch.device("meta"):
        assert model(torch.zeros(2, *input_shape(cfg, source))).shape == (2, len(source.classes))


GREY = ("digits", "fashion_mnist", "kmnist", "mnist")
# What knows neither classes nor sizes before somebody says where it is.
NAMED = {"torchvision": ["data.name=food101"]}


@pytest.mark.parametrize("name", thinned(options("data")))
def test_data(name, recipe):
    cfg = recipe(f"data={name}", *NAMED.get(name, []))
    source = build_source(cfg, "train")
    if name != "arrays":  # whose files say it
        assert source.channels == (1 if name in GREY else 3)
    if name in (*GREY, "cifar10", "cifar100", "svhn", "stl10"):
        assert input_shape(cfg, source)[0] == source.channels


def test_the_measured_recipe_is_what_was_measured(config):
    cfg = config("experiment=fashion_mnist")
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert plain["optimizer"] == {
        **{"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9, "dampening": 0.0, "weight_decay": 5e-4},
        **{"nesterov": True, "maximize": False, "foreach": None, "differentiable": False, "fused": None},
    }
    assert plain["lr_schedule"] == {
        **{"_target_": "hookline.schedules.Cosine", "by_epoch": False, "min_lr": 0.0, "min_lr_ratio": None},
        **{"warmup": "linear", "warmup_iters": 200, "warmup_ratio": 0.01},
        **{"warmup_by_epoch": False, "warmup_join": "scale"},
    }
    assert plain["data"] == {
        **{"_target_": "hookline.data.FashionMNIST", "root": None, "download": False},
        **{"batch_size": 128, "val_batch_size": 500, "drop_last": False, "in_memory": None},
        **{"workers": "auto", "worker_type": "thread", "on_error": "raise"},
        **{"subset": None, "subset_seed": 0, "sampler": None, "samples_per_epoch": None, "repeats": 1},
        **{"cache": "none", "cache_dir": None, "cache_size": 256},
        "train_transforms": {
            "crop": {"_target_": "hookline.data.RandomCrop", "padding": 1},
            "flip": {"_target_": "hookline.data.RandomHorizontalFlip", "p": 0.5},
        },
        "transforms": {"resize": {"_target_": "hookline.data.Resize", "size": 42}},
    }
    assert (plain["model"]["model_name"], plain["runner"]["max_epochs"]) == ("test_resnet", 12)


TORCHVISION = {"model.name": "resnet50", "optimizer.momentum": 0.9, "optimizer.nesterov": False, "augment.size": 224}
RSB = {
    **{"data.batch_size": 2048, "mix.cutmix": 1.0, "mix.cutmix_share": 0.5, "mix.p": 1.0, "augment.crop_pct": 0.95},
    **{"optimizer._target_": "timm.optim.Lamb", "loss._target_": "hookline.losses.BinaryCrossEntropy"},
    **{"lr_schedule.warmup_iters": "5ep", "param_groups.norm_decay_mult": 0, "param_groups.bias_decay_mult": 0},
    "augment.interpolation": "bicubic",
}
PUBLISHED = {
    "cifar10": {
        **{"runner.max_epochs": 200, "data.batch_size": 128, "optimizer.lr": 0.1, "optimizer.weight_decay": 5e-4},
        **{"optimizer.nesterov": False, "data.train_transforms.crop.padding": 4},
    },
    "imagenet_resnet50": TORCHVISION
    | {"runner.max_epochs": 90, "data.batch_size": 256, "optimizer.lr": 0.1, "optimizer.weight_decay": 1e-4}
    | {"lr_schedule.step": "30ep", "lr_schedule.gamma": 0.1, "augment.crop_pct": 0.875},
    "imagenet_resnet50_v2": TORCHVISION
    | {"runner.max_epochs": 600, "data.batch_size": 1024, "optimizer.lr": 0.5, "optimizer.weight_decay": 2e-5}
    | {"lr_schedule.warmup_iters": "5ep", "lr_schedule.warmup_ratio": 0.01, "data.repeats": 4}
    | {"loss.label_smoothing": 0.1, "mix.mixup": 0.2, "mix.cutmix": 1.0, "param_groups.norm_decay_mult": 0}
    | {"augment.train.crop.size": 176, "augment.train.erasing.p": 0.1, "evaluation.monitor": "val_ema/top1"},
    "imagenet_resnet50_a1": RSB
    | {"runner.max_epochs": 600, "optimizer.lr": 5e-3, "optimizer.weight_decay": 0.01, "mix.mixup": 0.2}
    | {"model.drop_path_rate": 0.05, "data.repeats": 3, "augment.train.crop.size": 224},
    "imagenet_resnet50_a2": RSB
    | {"runner.max_epochs": 300, "optimizer.lr": 5e-3, "optimizer.weight_decay": 0.02, "mix.mixup": 0.1}
    | {"model.drop_path_rate": 0.05, "data.repeats": 3, "augment.train.crop.size": 224},
    "imagenet_resnet50_a3": RSB
    | {"runner.max_epochs": 100, "optimizer.lr": 8e-3, "optimizer.weight_decay": 0.02, "mix.mixup": 0.1}
    | {"model.drop_path_rate": 0, "data.repeats": 1, "augment.train.crop.size": 160},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_settings_are_the_published_ones(name, config):
    cfg = config(f"experiment={name}")
    wanted = PUBLISHED[name]
    assert {key: OmegaConf.select(cfg, key) for key in wanted} == wanted


@pytest.mark.parametrize(("name", "shorter_side"), [("imagenet_resnet50", 256), ("imagenet_resnet50_v2", 232)])
def test_validation_images_are_resized_as_torchvision_does(name, shorter_side, config):
    resize = build_augment(config(f"experiment={name}"), "val")["resize"]
    assert resize(torch.zeros(3, 300, 400, dtype=torch.uint8), None).shape[1] == shorter_side


def test_the_triangle_of_the_fast_recipe(config):
    cfg = config("experiment=cifar10_fast", name="plot_lr")
    clock = build_clock(cfg, 48)
    rates = compute(build_schedules(cfg, clock), clock, {"lr": {"base": 1.0}}).lr["base"]
    assert (rates[0], max(rates), rates[-1]) == pytest.approx((0.2, 1.0, 0.07), abs=0.01)
    assert rates.index(max(rates)) == pytest.approx(0.23 * clock.max_iters, abs=2)


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_is_to_be_warned_of_in_a_recipe_s_schedule(name, config):
    cfg = config(f"experiment={name}", name="plot_lr")
    clock = build_clock(cfg, 40)
    bases = {"lr": {"base": cfg.optimizer.lr}}
    assert lr_warnings(build_schedules(cfg, clock)["lr"], bases["lr"], clock) == []


# What makes two updates of a recipe cheap: a few small images in the format of its data, and a smaller model.
CHEAP = [
    *("runner.max_epochs=null", "runner.max_iters=2", "runner.device=cpu", "data.batch_size=8"),
    *("data.val_batch_size=4", "hooks.lr_curve=null", "logger=none", "checkpoint=none"),
]
SMALL_IMAGES = ["augment.size=32", "augment.train.crop.size=24"]
NO_WARM_UP = ["lr_schedule.warmup_iters=1"]
SMALLER = {
    "fashion_mnist": ["data.root=IDX", *NO_WARM_UP],
    "cifar10": ["data.root=SETS", "data.batch_size=2", "data.val_batch_size=2"],
    "cifar10_fast": ["data.root=SETS", "data.batch_size=2", "data.val_batch_size=2"],
    "imagenet_resnet50": ["data.root=IMAGENET", "model.name=resnet18", *SMALL_IMAGES],
    "imagenet_resnet50_v2": [
        *("data.root=IMAGENET", "model.name=resnet18", *SMALL_IMAGES, *NO_WARM_UP),
        *("hooks.ema.start=0", "hooks.ema.interval=1"),
    ],
    "imagenet_resnet50_a1": ["data.root=IMAGENET", "model.model_name=test_resnet", *SMALL_IMAGES, *NO_WARM_UP],
    "imagenet_resnet50_a2": ["data.root=IMAGENET", "model.model_name=test_resnet", *SMALL_IMAGES, *NO_WARM_UP],
    "imagenet_resnet50_a3": ["data.root=IMAGENET", "model.model_name=test_resnet", *SMALL_IMAGES, *NO_WARM_UP],
    "finetune": ["data.root=FOLDER", "model.model_name=test_resnet", "model.pretrained=false", "augment.size=32"],
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_run(name, train, idx_folder, monkeypatch):
    overrides = SMALLER[name]
    write_data_of(overrides, monkeypatch)
    if "data.root=IDX" in overrides:
        idx_folder(Path("IDX"))
    finished = train(f"experiment={name}", *CHEAP, *overrides)
    assert finished.status == 0, finished.err
    assert finished.result["iterations"] == 2
