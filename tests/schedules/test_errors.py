"""What a user gets wrong ends in one message with the config key, the value and what is valid."""

from __future__ import annotations

import re

import pytest

from hookline.config.errors import ConfigError
from hookline.schedules import Clock
from hookline.schedules.build import build_schedule, for_groups

RUN = Clock.for_run(10, max_epochs=8)
SCHEDULES = "hookline.schedules"

# option, overrides, the key that is named, what the message says of valid values
WRONG = [
    ("step", {"step": 0}, "step=0", "an integer > 0"),
    ("step", {"step": [3, 2]}, "step=[3, 2]", "increasing"),
    ("step", {"step": [2, 2]}, "step=[2, 2]", "increasing"),
    ("step", {"step": ["50%", "20it"]}, "step=[50%, 20it]", "increasing"),
    ("step", {"step": []}, "step=[]", "list of increasing"),
    ("step", {"step": "5 parsecs"}, "step=5 parsecs", "5ep, 500it or 10%"),
    ("step", {"gamma": -1.0}, "gamma=-1.0", "> 0"),
    ("step", {"min_lr": -1.0}, "min_lr=-1.0", ">= 0"),
    ("exp", {"gamma": 0.0}, "gamma=0.0", "> 0"),
    ("exp", {"gamma": 1e60}, "gamma=1e+60", "smaller"),
    ("exp", {"gamma": float("nan")}, "gamma=nan", "> 0"),
    ("poly", {"power": 0}, "power=0", "> 0"),
    ("inv", {"gamma": 0}, "gamma=0", "> 0"),
    ("cosine", {"min_lr": 0.1, "min_lr_ratio": 0.1}, "min_lr=0.1", "min_lr_ratio"),
    ("cosine", {"min_lr": None}, "min_lr=null", "neither is given"),
    ("cosine", {"min_lr_ratio": 1.5}, "min_lr_ratio=1.5", "<= 1"),
    ("flat_cosine", {"start_percent": 75.0}, "start_percent=75.0", "<= 1"),
    ("cosine_restart", {"periods": [3, 4], "restart_weights": [1, 1]}, "periods=[3, 4]", "cover the run"),
    ("cosine_restart", {"periods": ["50%", "30%"]}, "periods=[50%, 30%]", "6 epochs, and the run has 8"),
    ("cosine_restart", {"periods": [8]}, "restart_weights=[1, 0.5]", "as many numbers as there are periods, 1"),
    ("cosine_restart", {"periods": [8, 0]}, "periods=0", "> 0"),
    ("cosine_cooldown", {"cool_down_time": 8}, "cool_down_time=8", "shorter than the run, which has 8 epochs"),
    ("cosine_cooldown", {"cool_down_time": -1}, "cool_down_time=-1", "> 0"),
    ("cosine_cooldown", {"cool_down_ratio": 0}, "cool_down_ratio=0", "> 0 and <= 1"),
    ("cyclic", {"by_epoch": True}, "by_epoch=true", "false"),
    ("cyclic", {"target_ratio": [1, 2, 3]}, "target_ratio=[1, 2, 3]", "two"),
    ("cyclic", {"cyclic_times": 0}, "cyclic_times=0", "> 0"),
    ("cyclic", {"cyclic_times": 81}, "cyclic_times=81", "at most the iterations of the run, 80"),
    ("cyclic", {"step_ratio_up": 1.0}, "step_ratio_up=1.0", "< 1"),
    ("cyclic", {"gamma": 1.5}, "gamma=1.5", "> 0 and <= 1"),
    ("cyclic", {"anneal_strategy": "sine"}, "anneal_strategy=sine", "one of cos, linear"),
    ("one_cycle", {"by_epoch": True}, "by_epoch=true", "false"),
    ("one_cycle", {"total_steps": 79}, "total_steps=79", "at least the run's 80 iterations"),
    ("one_cycle", {"total_steps": "7ep"}, "total_steps=7ep", "at least the run's 80 iterations"),
    ("one_cycle", {"pct_start": 1.1}, "pct_start=1.1", "<= 1"),
    ("one_cycle", {"max_lr": [0.1, 0.2, 0.3]}, "max_lr=[0.1, 0.2, 0.3]", "one for each of the 2 parameter groups"),
    ("one_cycle", {"max_lr": 0}, "max_lr=0", "> 0"),
    ("one_cycle", {"div_factor": 0}, "div_factor=0", "> 0"),
    ("linear", {"warmup": "linear"}, "warmup_iters=0", "an integer > 0"),
    ("linear", {"warmup": "sine", "warmup_iters": 1}, "warmup=sine", "one of null, constant, linear, exp"),
    ("linear", {"warmup": "exp", "warmup_iters": 1, "warmup_ratio": 0}, "warmup_ratio=0", "> 0 and <= 1"),
    ("linear", {"warmup_join": "glue"}, "warmup_join=glue", "one of scale, shift"),
    ("linear", {"warmup": "exp", "warmup_iters": 80, "warmup_join": "shift"}, "warmup_iters=80", "shorter than"),
    ("linear", {"by_epoch": 1}, "by_epoch=1", "bool"),
    ("wsd", {"decay_time": 81}, "decay_time=81", "at most as long as the run, which has 80 iterations"),
    ("wsd", {"tail": "round"}, "tail=round", "one of linear, sqrt, cosine"),
    ("tanh", {"upper": -7.0}, "upper=-7.0", "> -6"),
    ("rex", {"min_lr": -0.1}, "min_lr=-0.1", ">= 0"),
    ("sequence", {"parts": []}, "parts=[]", "at least one"),
    ("sequence", {"parts": [{"end": 3}]}, "parts[0].curve=null", "_target_"),
    ("sequence", {"parts": [{"curve": {"_target_": f"{SCHEDULES}.Fixed"}, "end": 3}]}, "parts[0].end=3", "run's end"),
    (
        "sequence",
        {"parts": [{"curve": {"_target_": f"{SCHEDULES}.Fixed"}, "ends": 3}]},
        "parts[0].ends=3",
        "Did you mean 'end'",
    ),
    (
        "sequence",
        {"parts": [{"curve": {"_target_": f"{SCHEDULES}.Cosine", "min_lr": -1.0}}]},
        "min_lr=-1.0",
        ">= 0",
    ),
    (
        "sequence",
        {"parts": [{"curve": {"_target_": f"{SCHEDULES}.OneCycle", "max_lr": 1, "total_steps": 7}}]},
        "parts[0].curve.total_steps=7",
        "at least the run's 80",
    ),
    (
        "chain",
        {"curves": [{"_target_": f"{SCHEDULES}.OneCycle", "max_lr": [1, 2, 3]}]},
        "curves[0].max_lr=[1, 2, 3]",
        "2 parameter groups",
    ),
    ("chain", {"curves": [{"_target_": f"{SCHEDULES}.Clock", "max_epochs": 1, "max_iters": 1, "iters_per_epoch": 1}]},
     "curves[0]=", "a curve"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "overrides", "said", "valid"), WRONG, ids=lambda v: str(v)[:40])
def test_wrong(option, name, overrides, said, valid):
    with pytest.raises(ConfigError) as caught:
        for_groups(build_schedule(option("lr_schedule", name, **overrides), "lr_schedule", RUN), "lr_schedule", 2)
    message = str(caught.value)
    assert message.startswith("lr_schedule.")
    assert said in message
    assert valid in message
    assert "_value" not in message
    assert "\n" not in message


def test_momentum_keeps_its_own_words(option):
    node = option("momentum_schedule", "cosine", min_momentum=-1.0)
    with pytest.raises(ConfigError, match=re.escape("momentum_schedule.min_momentum=-1.0: must be a number >= 0")):
        build_schedule(node, "momentum_schedule", RUN, "momentum")


def test_a_typo_is_answered_with_the_config_word(option):
    node = {**option("lr_schedule", "cosine"), "min_lrr": 0.1}
    with pytest.raises(ConfigError, match=r"lr_schedule\.min_lrr=0\.1.*Did you mean 'min_lr'"):
        build_schedule(node, "lr_schedule", RUN)


def test_a_warmup_longer_than_the_run_is_a_warning_under_scale(option, caplog):
    node = option("lr_schedule", "fixed", warmup="linear", warmup_iters=81)
    schedule = build_schedule(node, "lr_schedule", RUN)
    assert schedule(1.0, RUN.at(79)) < 1
    assert "warmup_iters=81" in caplog.text
    assert "80" in caplog.text


def test_a_warmup_as_long_as_the_run_is_fine_under_scale(option, caplog):
    build_schedule(option("lr_schedule", "fixed", warmup="linear", warmup_iters=80), "lr_schedule", RUN)
    assert caplog.text == ""
