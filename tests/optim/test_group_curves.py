"""Schedules that do not fit the parameter groups are refused before training, by preview and training alike."""

from __future__ import annotations

import pytest

from hookline.commands.plot_lr import plot_lr

WARMED = ["momentum_schedule=linear", "momentum_schedule.warmup=linear", "momentum_schedule.warmup_iters=3"]

REFUSED = [
    ([*WARMED, "momentum_schedule.warmup_ratio=0.5"], "momentum_schedule.warmup_ratio=0.5: must be larger"),
    ([*WARMED, "optimizer=adamw", "momentum_schedule.warmup_ratio=0.9"], "must be larger, so that the momentum stays"),
    (["momentum_schedule=one_cycle", "momentum_schedule.max_momentum=1.5"], "gives a momentum of 1.5 in iteration 1;"),
    (["momentum_schedule=cyclic", "momentum_schedule.target_ratio=[1.2,1]"], "it must stay at least 0 and below 1"),
    (["lr_schedule.min_lr=0.5"], "lr_schedule.min_lr=0.5: must be at most the base value, which is 0.1"),
    (["lr_schedule=plateau", "lr_schedule.min_lr=0.5"], "lr_schedule.min_lr=0.5: must be at most the base value"),
    (
        ["lr_schedule=chain", "lr_schedule.curves=[{_target_:hookline.schedules.Poly,min_lr:3.0}]"],
        "lr_schedule.curves[0].min_lr=3.0: must be at most",
    ),
    (
        [
            "lr_schedule=sequence",
            "lr_schedule.parts=[{curve:{_target_:hookline.schedules.Step,step:1,min_lr:0.05},factor:0.1}]",
        ],
        "lr_schedule.parts[0].curve.min_lr=0.05: must be at most the base value, which is 0.01",
    ),
    (["optimizer.weight_decay=0", "weight_decay_schedule=cosine"], "weight_decay is 0 in every parameter group"),
]


@pytest.mark.parametrize(("overrides", "message"), REFUSED)
def test_refused(overrides, message, runner, run_task):
    from hookline.config.errors import ConfigError

    finished = run_task(plot_lr, "plot_lr", "preview.iters_per_epoch=9", *overrides)
    assert finished.status == 2
    assert message in finished.err
    assert len(finished.err.splitlines()) == 1
    with pytest.raises(ConfigError) as raised:
        runner("data.transforms.resize=null", *overrides)
    assert message in str(raised.value)


def test_a_floor_above_the_base_of_some_groups_is_their_value(runner):
    made = runner(
        "optimizer=adamw", "param_groups=layer_decay", "param_groups.layer_decay=0.1", "lr_schedule.min_lr=1e-5"
    )
    bases = [group["lr"] for group in made.optimizer.param_groups]
    assert min(bases) < 1e-5 < max(bases)
