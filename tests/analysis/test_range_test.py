"""The learning-rate range test: its curve, when it stops, and what it suggests."""

from __future__ import annotations

import math

import pytest
from tests.toy import toy_runner

from hookline.analysis.range_test import RangeTest, RangeTestHook, is_flat, suggest
from hookline.hooks.schedule import ScheduleHook
from hookline.schedules import Clock


@pytest.mark.parametrize("shape", ["exp", "linear"])
def test_groups_keep_their_ratios(shape):
    curve = RangeTest(start=1e-4, end=1.0, shape=shape, largest=0.2)
    clock = Clock.for_run(10, max_epochs=2)
    assert (curve(0.2, clock.at(0)), curve(0.2, clock.at(19))) == pytest.approx((1e-4, 1.0))
    assert all(curve(0.05, clock.at(i)) == pytest.approx(curve(0.2, clock.at(i)) / 4) for i in range(20))


def test_suggestion_is_where_the_loss_falls_fastest():
    lr = [10 ** (-5 + i / 10) for i in range(60)]
    loss = [2 - 1 / (1 + math.exp(-3 * (math.log10(x) + 2))) + 50 * max(0, x - 0.5) for x in lr]
    assert suggest(lr, loss) == pytest.approx(1e-2, rel=0.3)
    assert suggest(lr, sorted(loss)) is None
    assert suggest([], []) is None


def test_flat_is_a_fall_that_is_small_or_lost_in_the_scatter():
    falling = [2 - i / 40 for i in range(60)] + [8.0]
    assert not is_flat([x + 0.1 * (-1) ** i for i, x in enumerate(falling)], falling)
    assert is_flat([x + (-1) ** i for i, x in enumerate(falling)], falling)
    assert is_flat([2 - i / 1000 for i in range(60)], [2 - i / 1000 for i in range(60)])
    assert is_flat(sorted(falling), sorted(falling))


def test_the_hook_notes_every_iteration_until_the_loss_breaks():
    hook = RangeTestHook(smoothing=0.5, diverge=4.0)
    runner = toy_runner(ScheduleHook(), hook, max_epochs=20)
    runner.schedules = {"lr": RangeTest(start=1e-3, end=1e4, largest=0.1).for_run(runner.clock)}
    runner.run()
    assert runner.status == "stopped"
    assert runner.stop_reason == "the loss has broken"
    assert len(hook.lr) == len(hook.loss) == len(hook.smoothed) == runner.clock.iter < 100
    assert hook.lr[:2] == pytest.approx([1e-3, 1e-3 * 1e7 ** (1 / 99)])
    # The mean of the losses so far, each counting half of the one after it.
    assert hook.smoothed[:2] == pytest.approx([hook.loss[0], (hook.loss[0] + 2 * hook.loss[1]) / 3])
    assert hook.smoothed[-1] > 4 * min(hook.smoothed)
