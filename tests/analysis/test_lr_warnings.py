"""What is said before a run that would learn little, or break."""

from __future__ import annotations

import pytest

from hookline.analysis.lr_warnings import lr_warnings
from hookline.schedules import Clock, Cosine, Cyclic, Exp, Fixed, OneCycle, Poly, Step, WarmUp

RUN = Clock.for_run(100, max_epochs=20)


@pytest.mark.parametrize(
    "curve",
    [
        Exp(0.9, by_epoch=False),
        Step(10, by_epoch=False),
        OneCycle(1e-12, div_factor=1.0),
        WarmUp(Fixed(), warmup="constant", warmup_iters="80%", warmup_ratio=1e-5),
    ],
    ids=lambda curve: type(curve).__name__,
)
def test_next_to_zero_for_most_of_the_run(curve):
    (warning,) = lr_warnings(curve.for_run(RUN), {"body": 0.1, "head": 1.0}, RUN)
    assert "lr_schedule: the learning rate is 0 or below 0.0001 of its peak" in warning


def test_a_rate_of_zero():
    assert "0 for the whole run" in lr_warnings(Fixed(), {"base": 0.0}, RUN)[0]
    (warning,) = lr_warnings(Fixed(), {"body": 0.0, "head": 0.1}, RUN)
    assert warning.endswith("(parameter groups body)")


@pytest.mark.parametrize("curve", [OneCycle(5.0), Step(1, gamma=2.0), Cyclic(target_ratio=[100, 1])])
def test_far_above_the_base_for_most_of_the_run(curve):
    (warning,) = lr_warnings(curve.for_run(RUN), {"base": 0.1}, RUN)
    assert "more than 10 times its base" in warning


@pytest.mark.parametrize(
    "curve",
    [
        Fixed(),
        Cosine(min_value=0.0),
        Cyclic(),
        OneCycle(),
        Poly(power=4.0),
        Step([5, 10, 15], gamma=0.1),
        Step([2, 4, 6, 8], gamma=0.1),
        WarmUp(Cosine(min_value=0.0), warmup="exp", warmup_iters="60%", warmup_ratio=1e-6),
    ],
)
def test_nothing_is_said_of_common_schedules(curve):
    assert lr_warnings(curve.for_run(RUN), {"base": 0.1}, RUN) == []


def test_a_training_says_it(train):
    finished = train("lr_schedule=exp", "lr_schedule.by_epoch=false", "runner.max_iters=300", "lr_schedule.gamma=0.5",
                     "data.transforms.resize=null", "checkpoint=none", "data.batch_size=8")  # fmt: skip
    assert finished.status == 0, finished.err
    assert "learning rate is 0 or below 0.0001 of its peak for 9" in finished.out + finished.err
