"""Whatever the parameters: finite, pure, within bounds, first and last as documented, joined without a jump."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hookline.schedules import (
    Chain,
    Clock,
    Cosine,
    CosineCooldown,
    CosineRestart,
    Curve,
    Cyclic,
    Exp,
    Fixed,
    FlatCosine,
    Inv,
    Linear,
    OneCycle,
    OneCycleInverse,
    Poly,
    Rex,
    Sequential,
    Step,
    Tanh,
    WarmUp,
    Wsd,
)

checked = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

BASE = 0.5
EPS = 1e-9

number = st.floats
ratio = number(0.0, 1.0)
positive_ratio = number(1e-4, 1.0)
share = st.integers(1, 100).map(lambda p: f"{p}%")
runs = st.builds(lambda ipe, n: Clock.for_run(ipe, max_iters=n), st.integers(1, 12), st.integers(1, 90))
booleans = st.booleans()
floors = st.one_of(
    st.builds(lambda m: {"min_value": m}, number(0.0, BASE)), st.builds(lambda r: {"min_value_ratio": r}, ratio)
)


def floor_of(keys: dict) -> float:
    return keys.get("min_value", BASE * keys.get("min_value_ratio", 0.0))


DECAYS = (
    "fixed",
    "step",
    "exp",
    "poly",
    "inv",
    "linear",
    "cosine",
    "flat",
    "restart",
    "cooldown",
    "wsd",
    "tanh",
    "rex",
)


@st.composite
def decays(draw):
    """Return (curve, lowest, highest, first value or None) of a curve that starts at the base and comes down."""
    curve: Curve
    kind = draw(st.sampled_from(DECAYS))
    by_epoch = draw(booleans)
    floor = draw(floors)
    low = floor_of(floor)
    if kind == "fixed":
        return Fixed(by_epoch=by_epoch), BASE, BASE, BASE
    if kind == "step":
        step = draw(st.one_of(st.integers(1, 50), share, st.sets(st.integers(1, 99), min_size=1).map(sorted)))
        return Step(step, gamma=draw(positive_ratio), by_epoch=by_epoch), 0, BASE, BASE
    if kind == "exp":
        return Exp(draw(positive_ratio), by_epoch=by_epoch), 0, BASE, BASE
    if kind == "poly":
        m = draw(number(0.0, BASE))
        return Poly(power=draw(number(0.1, 5.0)), min_value=m, by_epoch=by_epoch), m, BASE, BASE
    if kind == "inv":
        return Inv(draw(number(1e-3, 10.0)), power=draw(number(0.1, 5.0)), by_epoch=by_epoch), 0, BASE, BASE
    if kind == "flat":
        return FlatCosine(start_percent=draw(ratio), by_epoch=by_epoch, **floor), low, BASE, BASE
    if kind == "restart":
        periods = draw(st.lists(share, max_size=3))
        weights = [1.0, *draw(st.lists(ratio, min_size=len(periods), max_size=len(periods)))]
        curve = CosineRestart([*periods, "100%"], restart_weights=weights, by_epoch=by_epoch, **floor)
        return curve, low, BASE, None
    if kind == "cooldown":
        cool = draw(positive_ratio)
        curve = CosineCooldown(cool_down_time="10%", cool_down_ratio=cool, by_epoch=False, **floor)
        return curve, low * cool, BASE, BASE
    if kind == "wsd":
        tail = draw(st.sampled_from(["linear", "sqrt", "cosine"]))
        return Wsd(draw(share), tail=tail, by_epoch=by_epoch, **floor), low, BASE, None
    if kind == "tanh":
        lower = draw(number(-9.0, 0.0))
        curve = Tanh(lower=lower, upper=lower + draw(number(0.5, 9.0)), by_epoch=by_epoch, **floor)
        return curve, low, BASE, low + (BASE - low) * (1 - math.tanh(lower)) / 2
    simple_decays: dict[str, Callable[..., Curve]] = {"linear": Linear, "cosine": Cosine, "rex": Rex}
    return simple_decays[kind](by_epoch=by_epoch, **floor), low, BASE, BASE


@st.composite
def cycles(draw):
    """Return (curve, lowest, highest, None) of a curve that goes up and down."""
    curve: Curve
    anneal = draw(st.sampled_from(["cos", "linear"]))
    if draw(booleans):
        up, low = draw(number(0.1, 20.0)), draw(number(0.0, 1.0))
        curve = Cyclic(target_ratio=[up, low], step_ratio_up=draw(number(0.0, 0.99)), anneal_strategy=anneal,
                       gamma=draw(positive_ratio))  # fmt: skip
        return curve, BASE * min(1, up, low), BASE * max(1, up, low), None
    keys = {"pct_start": draw(ratio), "anneal_strategy": anneal, "three_phase": draw(booleans)}
    if draw(booleans):
        low, high = sorted((draw(positive_ratio), draw(positive_ratio)))
        return OneCycleInverse(base_value=low, max_value=high, **keys), low, high, None
    peak, div, final = draw(number(1e-3, 10.0)), draw(number(1.0, 100.0)), draw(number(1.0, 1e5))
    curve = OneCycle(peak, div_factor=div, final_div_factor=final, total_steps=draw(st.none() | st.just(1000)), **keys)
    return curve, peak / div / final, peak, None


simple = decays() | cycles()


@st.composite
def combined(draw):
    """Return a sequential or a chain of simple curves, whose bounds follow from theirs."""
    (a, low_a, high_a, _), (b, low_b, high_b, _) = draw(simple), draw(simple)
    if draw(booleans):
        curve = Sequential([{"curve": a, "end": draw(share)}, {"curve": b, "end": "100%"}])
        return curve, min(low_a, low_b), max(high_a, high_b), None
    return Chain([a, b]), low_a * low_b / BASE, high_a * high_b / BASE, None


everything = simple | combined()


def all_values(curve, run: Clock) -> list[float]:
    return [curve(BASE, run.at(i)) for i in range(run.max_iters)]


@checked
@given(everything, runs)
def test_finite_and_within_bounds(drawn, run):
    curve, low, high, _ = drawn
    values = all_values(curve.for_run(run), run)
    assert all(math.isfinite(v) for v in values)
    assert min(values) >= low - EPS * (1 + low)
    assert max(values) <= high + EPS * (1 + high)


@checked
@given(everything, runs, st.randoms(use_true_random=False), st.sampled_from(["scale", "shift"]), booleans)
def test_the_same_clock_gives_the_same_value_in_any_order(drawn, run, rng: random.Random, join, inverse):
    curve = WarmUp(drawn[0], warmup="exp", warmup_iters="20%", warmup_join=join, inverse=inverse).for_run(run)
    values = all_values(curve, run)
    order = list(range(run.max_iters)) * 2
    rng.shuffle(order)
    moving = run.at(0)  # one clock, moved in place as the runner does
    for i in order:
        moving.iter, moving.epoch = i, i // run.iters_per_epoch
        assert curve(BASE, moving) == values[i]
    assert moving == run.at(order[-1])
    assert all_values(drawn[0].for_run(run), run) == all_values(drawn[0].for_run(run), run)


@checked
@given(decays(), runs)
def test_first_value(drawn, run):
    curve, _, _, first = drawn
    if first is not None:
        assert math.isclose(curve.for_run(run)(BASE, run.at(0)), first, rel_tol=1e-12)


@checked
@given(decays(), runs)
def test_decays_never_rise_but_at_a_restart(drawn, run):
    curve = drawn[0]
    if not isinstance(curve, CosineRestart):
        values = all_values(curve.for_run(run), run)
        assert all(after <= before + EPS for before, after in pairwise(values))


@checked
@given(st.sampled_from([Linear, Cosine, Rex]), floors, st.integers(2, 400))
def test_the_floor_is_approached_and_not_reached(kind, floor, iters):
    run = Clock.for_run(1, max_iters=iters)
    last = kind(by_epoch=False, **floor).for_run(run)(BASE, run.at(iters - 1))
    low = floor_of(floor)
    assert low - EPS <= last
    if low < 0.9 * BASE:
        assert last > low
    # The next value would be the floor: the formula at t = T.
    assert abs(kind(by_epoch=False, **floor)(BASE, Clock(iters, iters, 1, iters, iters)) - low) < EPS


@checked
@given(number(1e-3, 1.0), number(1.0, 50.0), number(1.0, 1e4), st.integers(5, 90), booleans)
def test_one_cycle_starts_and_ends_as_documented(peak, div, final, iters, three_phase):
    run = Clock.for_run(1, max_iters=iters)
    curve = OneCycle(peak, div_factor=div, final_div_factor=final, pct_start=0.4, three_phase=three_phase).for_run(run)
    assert math.isclose(curve(BASE, run.at(0)), peak / div, rel_tol=1e-9)
    assert math.isclose(curve(BASE, run.at(iters - 1)), peak / div / final, rel_tol=1e-9, abs_tol=1e-15)


@checked
@given(everything, st.sampled_from(["linear", "exp"]), positive_ratio, st.integers(10, 400), st.integers(2, 9))
def test_shift_joins_without_a_jump(drawn, shape, warmup_ratio, iters, part):
    run = Clock.for_run(7, max_iters=iters)
    length = iters // part
    keys = {"warmup": shape, "warmup_iters": length, "warmup_ratio": warmup_ratio, "warmup_join": "shift"}
    rest = Clock.for_run(7, max_iters=iters - length)
    alone = drawn[0].for_run(rest)
    curve = WarmUp(drawn[0], **keys).for_run(run)
    start = alone(BASE, rest.at(0))
    # It starts at the ratio, climbs by less than a step of the ramp at a time, and hands over at the curve's start.
    assert math.isclose(curve(BASE, run.at(0)), warmup_ratio * start, rel_tol=1e-9, abs_tol=1e-15)
    rate = 1 - warmup_ratio if shape == "linear" else -math.log(warmup_ratio)
    step = abs(start) * rate / length + EPS
    values = [curve(BASE, run.at(i)) for i in range(length + 1)]
    assert values[-1] == start
    assert all(-EPS <= b - a <= step for a, b in pairwise(values))
    assert [curve(BASE, run.at(i + length)) for i in range(rest.max_iters)] == all_values(alone, rest)


@checked
@given(everything, st.sampled_from(["constant", "linear", "exp"]), positive_ratio, runs, st.integers(1, 100), booleans)
def test_scale_is_a_factor_that_ends(drawn, shape, warmup_ratio, run, length, inverse):
    alone = all_values(drawn[0].for_run(run), run)
    keys = {"warmup": shape, "warmup_iters": length, "warmup_ratio": warmup_ratio, "inverse": inverse}
    warm = all_values(WarmUp(drawn[0], **keys).for_run(run), run)
    assert warm[length:] == alone[length:]
    for i, (a, w) in enumerate(zip(alone, warm[:length], strict=False)):
        factor = a / w if inverse and w else (w / a if a else None)
        if factor is not None and min(abs(a), abs(w)) > 1e-200:
            assert warmup_ratio * (1 - EPS) <= factor <= 1 + EPS, i


@checked
@given(runs, st.lists(share, min_size=1, max_size=4))
def test_shares_that_sum_to_all_cover_the_run(run, shares):
    total = sum(int(s[:-1]) for s in shares)
    if total >= 100:
        CosineRestart(shares, restart_weights=[1] * len(shares), min_value=0.0).for_run(run)
