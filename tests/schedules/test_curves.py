"""Exact values of what the recorded curves leave out; every expected number comes by hand or from another library."""

from __future__ import annotations

import math

import pytest

from hookline.experiment import build_schedule
from hookline.schedules import Clock

H = math.sqrt(0.5)  # cos(pi / 4)


@pytest.fixture
def curve(option):
    """Return a function: the values at every iteration, of group 0, of a schedule with the given keys replaced."""

    def values(name, base=1.0, *, epochs=4, iters=1, field="lr", count=None, **overrides):
        clock = Clock.for_run(iters, max_epochs=epochs)
        schedule = build_schedule(option(f"{field}_schedule", name, **overrides), field, clock)
        curves = [schedule.for_group(index, count or 1) for index in range(count or 1)]
        rows = [[f(base, clock.at(i)) for i in range(clock.max_iters)] for f in curves]
        return rows if count else rows[0]

    return values


def same(got, expected):
    assert got == pytest.approx(expected, rel=1e-12, abs=1e-16)


def test_poly_by_epoch(curve):
    # 0.1 + 0.9 (1 - t/4)^2
    same(curve("poly", power=2, min_lr=0.1, iters=2), [1, 1, 0.60625, 0.60625, 0.325, 0.325, 0.15625, 0.15625])


def test_exp_by_iter(curve):
    same(curve("exp", 0.5, gamma=0.9, by_epoch=False), [0.5, 0.45, 0.405, 0.3645])


def test_inv_by_iter(curve):
    # (1 + t/2)^-2 = 1, 4/9, 1/4, 4/25
    same(curve("inv", gamma=0.5, power=2, by_epoch=False), [1, 4 / 9, 0.25, 0.16])


def test_step_interval_by_iter_with_floor(curve):
    same(curve("step", step=2, gamma=0.5, min_lr=0.3, by_epoch=False, epochs=6), [1, 1, 0.5, 0.5, 0.3, 0.3])


def test_linear_by_iter_to_a_ratio(curve):
    # from 2 to 0.5 in quarters of 1.5
    same(curve("linear", 2.0, min_lr_ratio=0.25, by_epoch=False), [2, 1.625, 1.25, 0.875])


def test_cosine_quarters(curve):
    # (1 + cos(pi t/4)) / 2, cos(pi/4) = sqrt(1/2)
    same(curve("cosine"), [1, (1 + H) / 2, 0.5, (1 - H) / 2])


def test_flat_cosine_min_lr_by_epoch(curve):
    # s = round(6 * 0.34) = 2; then 0.2 + 0.8 (1 + cos(pi (t-2)/4)) / 2
    got = curve("flat_cosine", start_percent=0.34, min_lr=0.2, epochs=6)
    same(got, [1, 1, 1, 0.6 + 0.4 * H, 0.6, 0.6 - 0.4 * H])


def test_flat_cosine_may_stay_flat(curve):
    same(curve("flat_cosine", start_percent=1.0), [1, 1, 1, 1])


def test_flat_cosine_rounds_a_half_to_even(curve):
    # Python's round, as in MMCV: round(0.5 * 5) = 2
    same(curve("flat_cosine", start_percent=0.5, epochs=5), [1, 1, 1, 0.75, 0.25])


def test_cosine_restart_by_epoch_with_ratio(curve):
    # periods 2 and 4 with weights 1 and 0.5 above a floor of 0.1
    got = curve("cosine_restart", periods=[2, 4], restart_weights=[1, 0.5], min_lr_ratio=0.1, epochs=5)
    same(got, [1, 0.55, 0.1 + 0.45, 0.1 + 0.225 * (1 + H), 0.1 + 0.225])


def test_cosine_restart_shares_cover_an_odd_run(curve):
    # 33% + 33% + 34% of 10 epochs end after 3.3, 6.6 and 10 epochs: after 3, 7 and 10
    got = curve("cosine_restart", periods=["33%", "33%", "34%"], restart_weights=[1, 1, 1], epochs=10)
    same(got, [1, 0.75, 0.25, 1, (1 + H) / 2, 0.5, (1 - H) / 2, 1, 0.75, 0.25])


def test_cosine_cooldown_by_iter(curve):
    # T - C = 4: the floor 0.2 is reached at t = 4, and half of it holds after
    got = curve("cosine_cooldown", cool_down_time=2, cool_down_ratio=0.5, min_lr=0.2, by_epoch=False, epochs=6)
    same(got, [1, 0.6 + 0.4 * H, 0.6, 0.6 - 0.4 * H, 0.2, 0.1])


def test_cyclic_linear_gamma(curve):
    # Two cycles of 4; the second's peak is 1 - 0.5 + 0.5 * 3 = 2
    got = curve("cyclic", target_ratio=[3, 0.5], cyclic_times=2, step_ratio_up=0.5, anneal_strategy="linear", gamma=0.5,
                epochs=8)  # fmt: skip
    same(got, [1, 2, 3, 1.75, 1, 1.5, 2, 1.25])


def test_cyclic_cosine_begins_a_third_cycle_with_what_is_left(curve):
    # 7 // 2 = 3 iterations a cycle, 1 up; iteration 6 is the first of a third one
    got = curve("cyclic", target_ratio=[3, 1], cyclic_times=2, step_ratio_up=0.4, epochs=7)
    same(got, [1, 3, 2, 1, 3, 2, 1])


def test_cyclic_with_one_ratio(curve):
    same(curve("cyclic", target_ratio=4.0, step_ratio_up=0.5, anneal_strategy="linear"), [1, 2.5, 4, 2.00002])


def test_cyclic_without_a_way_up_draws_the_low_to_the_base(curve):
    # MMCV's corner: the second cycle ends at 1 - 0.5 + 0.5 * 0.2 = 0.6 and starts at 3 as before
    got = curve("cyclic", target_ratio=[3, 0.2], cyclic_times=2, step_ratio_up=0.0, anneal_strategy="linear", gamma=0.5)
    same(got, [3, 1.6, 3, 1.8])


# torch.optim.lr_scheduler.OneCycleLR(max_lr=0.5, total_steps=10, pct_start=0.4, div_factor=10, final_div_factor=100)
ONE_CYCLE = [0.05, 0.1625, 0.3875, 0.5, 0.4665398445951636, 0.375125, 0.25025, 0.125375]


def test_one_cycle_longer_than_the_run(curve):
    got = curve("one_cycle", max_lr=0.5, total_steps=10, pct_start=0.4, div_factor=10, final_div_factor=100, epochs=8)
    same(got, ONE_CYCLE)


def test_one_cycle_three_phase_linear(curve):
    # torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=10, ..., three_phase=True, anneal_strategy="linear")
    got = curve("one_cycle", max_lr=1.0, pct_start=0.3, div_factor=10, final_div_factor=10, three_phase=True,
                anneal_strategy="linear", epochs=10)  # fmt: skip
    same(got, [0.1, 0.55, 1, 0.55, 0.1, 0.082, 0.064, 0.046, 0.028, 0.01])


def test_one_cycle_with_a_peak_for_each_group(curve):
    got = curve("one_cycle", max_lr=[0.5, 1.0], total_steps=10, pct_start=0.4, div_factor=10, final_div_factor=100,
                epochs=8, count=2)  # fmt: skip
    same(got[0], ONE_CYCLE)
    same(got[1], [2 * v for v in ONE_CYCLE])


def test_one_cycle_peaks_at_the_base_value_unless_told(curve):
    got = curve("one_cycle", 0.5, total_steps=10, pct_start=0.4, div_factor=10, final_div_factor=100, epochs=8)
    same(got, ONE_CYCLE)


def test_one_cycle_whose_way_up_has_no_length(curve):
    # pct_start N - 1 = 0: iteration 0 is the peak
    got = curve("one_cycle", max_lr=1.0, pct_start=0.25, anneal_strategy="linear", final_div_factor=4.0, div_factor=5.0)
    same(got, [1, 1 - 0.95 / 3, 1 - 1.9 / 3, 0.05])


def test_one_cycle_momentum_three_phase_of_two_groups(curve):
    got = curve("one_cycle", 0.9, field="momentum", three_phase=True, epochs=10, count=2,
                anneal_strategy="linear", base_momentum=[0.85, 0.5], max_momentum=[0.95, 0.9])  # fmt: skip
    same(got[0], [0.95, 0.9, 0.85, 0.9, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95])
    same(got[1], [0.9, 0.7, 0.5, 0.7, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])


@pytest.mark.parametrize(
    ("warmup", "expected"),
    [
        ("constant", [0.8, 0.8, 0.4]),
        ("linear", [0.8, 0.4 / 0.75, 0.4]),  # the factor is 1/2, then 3/4
        ("exp", [0.8, 0.4 / H, 0.4]),  # the factor is 1/2, then sqrt(1/2)
    ],
)
def test_momentum_warmup_divides(curve, warmup, expected):
    got = curve("step", 0.4, field="momentum", epochs=3, warmup=warmup, warmup_iters=2,
                warmup_ratio=0.5)  # fmt: skip
    same(got, expected)


def test_weight_decay_warmup_multiplies(curve):
    got = curve("linear", 0.4, field="weight_decay", min_weight_decay=0.2, epochs=4,
                warmup="constant", warmup_iters=2, warmup_ratio=0.5)  # fmt: skip
    same(got, [0.2, 0.175, 0.3, 0.25])


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("sqrt", [1, 0.5, 0.292893218813452475599, 0.133974596215561353236]),  # 1 - sqrt(x / 4)
        ("cosine", [1, (1 + H) / 2, 0.5, (1 - H) / 2]),
    ],
)
def test_wsd(curve, tail, expected):
    same(curve("wsd", tail=tail, decay_time=4, epochs=6), [1, 1, *expected])


def test_wsd_floor_and_share(curve):
    # half of 4: the tail starts at 2, and at 3 it is half way to 0.2
    same(curve("wsd", tail="linear", decay_time="50%", min_lr=0.2), [1, 1, 1, 0.6])


def test_tanh(curve):
    # timm.scheduler.TanhLRScheduler(t_initial=8, lb=-6, ub=3, lr_min=0.01)
    expected = [0.9999939172671438, 0.9999422916469954, 0.9994527491494456, 0.9948320755633772, 0.9530483855542089,
                0.682386912183639, 0.1906012685682928, 0.03274759621092538]  # fmt: skip
    same(curve("tanh", min_lr=0.01, epochs=8), expected)


def test_rex(curve):
    # (1 - z) / (1 - z/2), z = t/8: (16 - 2t) / (16 - t)
    same(curve("rex", epochs=8), [1, 14 / 15, 6 / 7, 10 / 13, 2 / 3, 6 / 11, 0.4, 2 / 9])
    same(curve("rex", 2.0, min_lr_ratio=0.5), [2, 1 + 6 / 7, 1 + 2 / 3, 1.4])


def test_sequence(curve):
    parts = [
        {"curve": {"_target_": "hookline.schedules.Linear", "min_lr": 0.0, "by_epoch": False}, "end": "4it"},
        {"curve": {"_target_": "hookline.schedules.Fixed"}, "begin": 2, "end": 3, "factor": 0.1},
        {"curve": {"_target_": "hookline.schedules.Exp", "gamma": 0.5}, "factor": 2},
    ]
    same(curve("sequence", parts=parts, epochs=5, iters=2), [1, 0.75, 0.5, 0.25, 0.1, 0.1, 2, 2, 1, 1])


def test_chain(curve):
    curves = [
        {"_target_": "hookline.schedules.Linear", "min_lr": 0.2},
        {"_target_": "hookline.schedules.Exp", "gamma": 0.5},
        {"_target_": "hookline.schedules.Step", "step": [3], "gamma": 0.1},
    ]
    # (1, .8, .6, .4) (1, .5, .25, .125) (1, 1, 1, .1), times the base 1
    same(curve("chain", curves=curves), [1, 0.4, 0.15, 0.005])
    same(curve("chain", 0.0, curves=curves[1:]), [0, 0, 0, 0])


def test_a_part_may_warm_up_on_its_own(curve):
    warm = {"_target_": "hookline.schedules.WarmUp", "warmup": "linear", "warmup_iters": 2, "warmup_ratio": 0.5,
            "curve": {"_target_": "hookline.schedules.Fixed"}}  # fmt: skip
    parts = [{"curve": {"_target_": "hookline.schedules.Fixed"}, "end": 2}, {"curve": warm}]
    same(curve("sequence", parts=parts, epochs=5), [1, 1, 0.5, 0.75, 1])


def test_warmup_shift_starts_the_curve_at_its_end(curve):
    # 2 iterations of warm-up from 0.5, then a linear of 4 that falls from 1 by quarters
    got = curve("linear", by_epoch=False, epochs=6, warmup="linear", warmup_iters=2, warmup_ratio=0.5,
                warmup_join="shift")  # fmt: skip
    same(got, [0.5, 0.75, 1, 0.75, 0.5, 0.25])


def test_warmup_scale_multiplies_the_running_curve(curve):
    # linear falls by sixths; the factors are 1/2 and 3/4
    got = curve("linear", by_epoch=False, epochs=6, warmup="linear", warmup_iters=2, warmup_ratio=0.5)
    same(got, [0.5, 0.625, 4 / 6, 3 / 6, 2 / 6, 1 / 6])


def test_warmup_shift_counts_epochs_from_its_end(curve):
    # 3 of 9 iterations warm up; what is left is two epochs of 3 for exp
    got = curve("exp", gamma=0.5, epochs=3, iters=3, warmup="exp", warmup_iters="1ep", warmup_ratio=0.125,
                warmup_join="shift")  # fmt: skip
    same(got, [0.125, 0.25, 0.5, 1, 1, 1, 0.5, 0.5, 0.5])
