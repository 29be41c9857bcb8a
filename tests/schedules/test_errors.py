"""What a user gets wrong ends in one message with the config key, the value and what is valid."""

from __future__ import annotations

import re
import sys

import pytest

from hookline.analysis.preview import compute
from hookline.config.errors import ConfigError
from hookline.experiment import build_schedule
from hookline.schedules import Clock, Fixed

RUN = Clock.for_run(10, max_epochs=8)
SCHEDULES = "hookline.schedules"

# option, overrides, the key that is named, what the message says of valid values
WRONG = [
    ("step", {"step": 0}, "step=0", "an integer > 0"),
    ("step", {"step": [3, 2]}, "step=[3, 2]", "increasing"),
    ("step", {"step": [2, 2]}, "step=[2, 2]", "increasing"),
    ("step", {"step": ["50%", "20it"]}, "step=[50%, 20it]", "increasing"),
    ("step", {"step": "4it"}, "step=4it", "half an epoch"),
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
    ("linear", {"by_epoch": 1}, "by_epoch=1", "true or false"),
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


def preview(node, field: str = "lr") -> dict[str, list[float]]:
    """Return the schedule's values in two parameter groups, each by the group's name."""
    schedules = {"lr": Fixed(), field: build_schedule(node, field, RUN)}
    return compute(schedules, RUN, {field: {"body": 0.4, "head": 0.4}}).series[field]


@pytest.mark.parametrize(("name", "overrides", "said", "valid"), WRONG, ids=lambda v: str(v)[:40])
def test_wrong(option, name, overrides, said, valid):
    with pytest.raises(ConfigError) as caught:
        preview(option("lr_schedule", name, **overrides))
    message = str(caught.value)
    assert message.startswith("lr_schedule.")
    assert said in message
    assert valid in message
    assert "_value" not in message
    assert "\n" not in message


def test_momentum_keeps_its_own_words(option):
    node = option("momentum_schedule", "cosine", min_momentum=-1.0)
    with pytest.raises(ConfigError, match=re.escape("momentum_schedule.min_momentum=-1.0: must be a number >= 0")):
        build_schedule(node, "momentum", RUN)


def test_a_typo_is_answered_with_the_config_word(option):
    node = {**option("lr_schedule", "cosine"), "min_lrr": 0.1}
    with pytest.raises(ConfigError, match=r"lr_schedule\.min_lrr=0\.1.*Did you mean 'min_lr'"):
        build_schedule(node, "lr", RUN)


def test_a_warmup_longer_than_the_run_is_a_warning_under_scale(option, caplog):
    node = option("lr_schedule", "fixed", warmup="linear", warmup_iters=81)
    schedule = build_schedule(node, "lr", RUN)
    assert schedule(1.0, RUN.at(79)) < 1
    assert "warmup_iters=81" in caplog.text
    assert "80" in caplog.text


def test_a_warmup_as_long_as_the_run_is_fine_under_scale(option, caplog):
    build_schedule(option("lr_schedule", "fixed", warmup="linear", warmup_iters=80), "lr", RUN)
    assert caplog.text == ""


FIELDS = ["lr", "momentum", "weight_decay"]


def chain(*curves) -> dict:
    return {"_target_": f"{SCHEDULES}.Chain", "curves": list(curves)}


def in_a_row(*curves) -> dict:
    """Return a `Sequential` of the curves, each for an equal share of the run."""
    parts = [{"curve": curve, "end": f"{100 * k // len(curves)}%"} for k, curve in enumerate(curves, start=1)]
    return {"_target_": f"{SCHEDULES}.Sequential", "parts": parts}


@pytest.mark.parametrize("field", FIELDS)
def test_the_fields_own_words_hold_in_nested_curves(field):
    falling = {"_target_": f"{SCHEDULES}.Linear", f"min_{field}": 0.2}
    quartered = {"_target_": f"{SCHEDULES}.Exp", "gamma": 0.25}
    # Over 8 epochs the line falls by 0.025 each, over 4 by 0.05; the other curve falls to a quarter.
    assert preview(chain(falling, quartered), field)["head"][::10][:3] == pytest.approx([0.4, 0.375 / 4, 0.35 / 16])
    assert preview(in_a_row(falling, falling), field)["head"][::10] == pytest.approx([0.4, 0.35, 0.3, 0.25] * 2)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    ("node", "path"),
    [
        (lambda curve: curve, ""),
        (lambda curve: chain({"_target_": f"{SCHEDULES}.Fixed"}, curve), "curves[1]."),
        (lambda curve: in_a_row({"_target_": f"{SCHEDULES}.Fixed"}, curve), "parts[1].curve."),
        (lambda curve: in_a_row(chain(curve)), "parts[0].curve.curves[0]."),
        (lambda curve: {"_target_": f"{SCHEDULES}.WarmUp", "curve": curve}, "curve."),
    ],
    ids=["alone", "chain", "sequence", "chain in a sequence", "wrapped"],
)
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"min_FIELD": -1.0}, "min_FIELD=-1.0: must be a number >= 0"),
        ({"min_FIELD": "low"}, "min_FIELD=low: must be a number"),
        ({"min_FIELD_ratio": 1.5}, "min_FIELD_ratio=1.5: must be a number >= 0 and <= 1"),
        (
            {"min_FIELD": 0.1, "min_FIELD_ratio": 0.1},
            "min_FIELD=0.1: must be given, or else min_FIELD_ratio, and not both",
        ),
        (
            {"minn_FIELD": 0.1},
            "minn_FIELD=0.1: hookline.schedules.Linear takes no argument 'minn_FIELD'. Did you mean 'min_FIELD'",
        ),
    ],
    ids=["range", "type", "ratio", "both", "typo"],
)
def test_a_wrong_value_is_told_by_its_full_key_in_the_fields_own_words(field, node, path, wrong, said):
    curve = {key.replace("FIELD", field): value for key, value in wrong.items()}
    with pytest.raises(ConfigError) as caught:
        preview(node({"_target_": f"{SCHEDULES}.Linear", **curve}), field)
    assert str(caught.value).startswith(f"{field}_schedule.{path}" + said.replace("FIELD", field))
    assert "_value" not in str(caught.value)


@pytest.fixture
def own_curve(tmp_path, monkeypatch):
    """Return the node of a curve of one's own, in whose module's and parameter's names is a word of the curves'."""
    (tmp_path / "my_value_curves.py").write_text(
        "from hookline.config.checks import check_number\n"
        "from hookline.schedules import Curve\n"
        "class Rise(Curve):\n"
        "    def __init__(self, *, init_value: float) -> None:\n"
        "        super().__init__()\n"
        '        check_number("init_value", init_value, gt=0)\n'
        "        self.init_value = init_value\n"
        "    def __call__(self, base_value, clock):\n"
        "        return self.init_value + (base_value - self.init_value) * clock.iter / clock.max_iters\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield {"_target_": "my_value_curves.Rise", "init_value": 0.1}
    sys.modules.pop("my_value_curves", None)


@pytest.mark.parametrize("field", FIELDS)
def test_ones_own_curve_keeps_the_names_that_it_has(own_curve, field):
    assert preview(own_curve, field)["body"][:2] == pytest.approx([0.1, 0.1 + 0.3 / 80])
    wrong = [
        ("init_value", -1.0, "must be a number > 0"),
        ("init_value", "low", "must be a number"),
        (f"init_{field}", 0.1, f"my_value_curves.Rise takes no argument 'init_{field}'."),
        ("init_valu", 0.1, "my_value_curves.Rise takes no argument 'init_valu'. Did you mean 'init_value'"),
        ("_target_", "my_value_curves.Fall", "cannot be imported"),
    ]
    for key, value, said in wrong:
        with pytest.raises(ConfigError) as caught:
            preview({**own_curve, key: value}, field)
        assert str(caught.value).startswith(f"{field}_schedule.{key}={value}: {said}")
    with pytest.raises(ConfigError, match=r"_schedule\.curves\[0\]\.init_value=-1\.0: must be a number > 0"):
        preview(chain({**own_curve, "init_value": -1.0}), field)
    with pytest.raises(ConfigError, match=r"_schedule\.init_value: is missing, and my_value_curves\.Rise needs it"):
        preview({"_target_": "my_value_curves.Rise"}, field)
