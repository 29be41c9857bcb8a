"""Every option of the groups that a user exchanges, in every recipe."""

from __future__ import annotations

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
from hookline.optim.group_curves import check_schedules
from tests.conftest import CONF

RECIPES = [None, *sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))]


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.fixture(params=RECIPES, ids=lambda name: name or "default")
def recipe(request, config):
    """Return a function: the config of a preview of the recipe with these overrides."""
    chosen = [] if request.param is None else [f"experiment={request.param}"]
    return lambda *overrides: config(*chosen, *overrides, name="plot_lr")


@pytest.mark.parametrize("name", options("lr_schedule"))
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


@pytest.mark.parametrize("name", [name for name in options("optimizer") if name != "custom"])
def test_optimizer(name, recipe):
    cfg = recipe(f"optimizer={name}")
    optimizer = build_optimizer(cfg, torch.nn.Conv2d(1, 2, 3))
    # The option's own learning rate, not that of the optimizer which the recipe would have chosen.
    assert optimizer.param_groups[0]["lr"] == OmegaConf.load(CONF / "optimizer" / f"{name}.yaml").lr


@pytest.mark.parametrize("name", options("model"))
def test_model(name, recipe):
    cfg = recipe(f"model={name}", *(["model.model_name=resnet10t"] if name == "timm" else []))
    source = build_source(cfg, "train")
    model = build_model_without_memory(cfg, source).eval()
    with torch.device("meta"):
        assert model(torch.zeros(2, *input_shape(cfg, source))).shape == (2, len(source.classes))


GREY = ("digits", "fashion_mnist", "kmnist", "mnist")
# What knows neither classes nor sizes before somebody says where it is.
NAMED = {"torchvision": ["data.name=food101"]}


@pytest.mark.parametrize("name", options("data"))
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
