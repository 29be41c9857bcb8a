"""Lengths with a unit mean the same wherever they stand."""

from __future__ import annotations

import pickle

import pytest

from hookline.config.errors import ParameterError
from hookline.schedules import Clock, CosineCooldown, Step, WarmUp, Wsd
from hookline.schedules.length import parse_length, resolve_length

RUN = Clock.for_run(10, max_epochs=8)


@pytest.mark.parametrize(
    ("text", "epochs", "iters"),
    [("2ep", 2, 20), ("2.5ep", 3, 25), ("20it", 2, 20), ("24it", 2, 24), ("25%", 2, 20), ("12.5 %", 1, 10), (7, 7, 7)],
)
def test_resolve(text, epochs, iters):
    length = parse_length("x", text)
    assert resolve_length(length, RUN, by_epoch=True) == epochs
    assert resolve_length(length, RUN, by_epoch=False) == iters


def test_a_share_is_exact():
    # 0.07 * 100 is 7.000000000000001 in floats, and 0.1 + 0.2 style errors would move a milestone
    assert resolve_length(parse_length("x", "29%"), Clock.for_run(1, max_iters=50), by_epoch=False) == 15
    assert resolve_length(parse_length("x", "7%"), Clock.for_run(1, max_iters=100), by_epoch=False) == 7


@pytest.mark.parametrize(
    "bad", [0, -1, 1.5, True, None, "5", "5 epochs", "0it", "-3ep", "101%", "ep", "", "1e3it", [1]]
)
def test_what_is_no_length(bad):
    with pytest.raises(ParameterError, match=r"x=.*5ep, 500it or 10%"):
        parse_length("x", bad)


def test_milestones_in_both_units():
    step = Step(["25%", "40it", "6ep"], gamma=0.5).for_run(RUN)
    assert [step(1.0, RUN.at(10 * epoch)) for epoch in range(8)] == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]


def test_an_interval_is_never_rounded_to_nothing():
    step = Step("1%", gamma=0.5).for_run(RUN)
    assert step(1.0, RUN.at(30)) == 0.125
    # What is meant to be shorter than an epoch would become ten times as long here.
    with pytest.raises(ParameterError, match="half an epoch"):
        Step("1it", gamma=0.5).for_run(RUN)


def test_a_tail_may_be_rounded_to_nothing():
    for curve in (CosineCooldown(min_value=0.0, cool_down_time="1%"), Wsd("1%", min_value=0.0, by_epoch=True)):
        assert curve.for_run(Clock.for_run(5, max_epochs=1))(1.0, RUN.at(0)) == 1.0


@pytest.mark.parametrize(
    ("warmup", "length", "why"),
    [(None, 20, "it needs one of constant"), ("linear", "0.4it", "less than half an iteration")],
)
def test_a_warmup_that_is_none_is_said(warmup, length, why, caplog):
    WarmUp(Step(100), warmup=warmup, warmup_iters=length).for_run(RUN)
    assert f"warmup_iters={length}: there is no warm-up" in caplog.text
    assert why in caplog.text


@pytest.mark.parametrize("tail", ["linear", "sqrt", "cosine"])
def test_a_curve_can_be_pickled(tail):
    curve = WarmUp(Wsd(min_value=0.0, tail=tail), warmup="linear", warmup_iters=3).for_run(RUN)
    again = pickle.loads(pickle.dumps(curve))
    assert [again(0.1, RUN.at(i)) for i in range(RUN.max_iters)] == [
        curve(0.1, RUN.at(i)) for i in range(RUN.max_iters)
    ]


def test_warmup_with_a_unit_does_not_care_for_warmup_by_epoch():
    for by_epoch in (False, True):
        warm = WarmUp(Step(100), warmup="constant", warmup_iters="1.5ep", warmup_ratio=0.5, warmup_by_epoch=by_epoch)
        schedule = warm.for_run(RUN)
        assert [schedule(1.0, RUN.at(i)) for i in (0, 14, 15)] == [0.5, 0.5, 1.0]


def test_the_given_curve_is_not_changed():
    given = Step("25%", gamma=0.5)
    first, second = given.for_run(RUN), given.for_run(Clock.for_run(1, max_epochs=100))
    assert first(1.0, RUN.at(20)) == 0.5
    assert second(1.0, Clock.for_run(1, max_epochs=100).at(24)) == 1.0
