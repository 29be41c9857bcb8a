"""Numbers of the report, against SciPy, against hand-made sums, and against what is known of made-up scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from tests.sweep.sweeps import write_grid, write_job

from hookline.sweep.jobs import read_sweep
from hookline.sweep.outcomes import outcomes_of, short_names
from hookline.sweep.statistics import effects, importance, interval, points_of


def outcomes(folder, **given):
    return outcomes_of([read_sweep(folder)], "val/top1", **given)


def test_the_interval_is_students():
    numbers = [90.0, 92.0, 91.5, 89.0]
    found = interval(numbers)
    low, high = stats.t.interval(0.95, 3, np.mean(numbers), stats.sem(numbers))
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    assert found.sd == pytest.approx(np.std(numbers, ddof=1))
    assert found.p == pytest.approx(stats.ttest_1samp(numbers, 0).pvalue)


@pytest.mark.parametrize("numbers", [[3.0], [3.0, 3.0]])
def test_one_number_and_equal_ones_have_no_interval(numbers):
    found = interval(numbers)
    assert (found.mean, found.half, found.p) == (3.0, None, None)


def test_points_are_sorted_and_paired_over_common_seeds(tmp_path):
    a, b = [90.0, 91.0, 95.0], [89.0, 90.5, 93.0]
    write_grid(tmp_path, {("exp", 1): b, ("linear", 1): a, ("linear", 2): [97.0]})
    best, second, third = points_of(outcomes(tmp_path), "max")
    assert (best.values, best.score.count, best.missing) == (
        {"lr_schedule.warmup": "linear", "optimizer.lr": "2"},
        1,
        ["1", "2"],
    )
    assert best.behind is None
    assert (second.behind.mean, second.behind.count, second.behind.half) == (-7.0, 1, None)
    assert third.behind.mean == -8.0

    write_grid(tmp_path / "two", {("exp", 1): b, ("linear", 1): a})
    _, behind = points_of(outcomes(tmp_path / "two"), "max")
    test = stats.ttest_rel(b, a)
    assert behind.behind.mean == pytest.approx(np.mean(np.subtract(b, a)))
    assert behind.behind.p == pytest.approx(test.pvalue)
    low = test.confidence_interval(0.95).low
    assert behind.behind.mean - behind.behind.half == pytest.approx(low)


def test_where_less_is_better_the_least_is_first(tmp_path):
    write_grid(tmp_path, {("exp", 1): [3.0, 4.0], ("linear", 1): [1.0, 2.0]})
    assert [point.score.mean for point in points_of(outcomes(tmp_path, when="final"), "min")] == [1.5, 3.5]


def test_a_point_that_diverged_stands_behind_those_that_did_not(tmp_path):
    write_job(tmp_path / "0", {"optimizer.lr": 1}, [99.0], seed=0)
    write_job(tmp_path / "1", {"optimizer.lr": 1}, [99.0], seed=1, status="diverged")
    write_job(tmp_path / "2", {"optimizer.lr": 2}, [90.0], seed=0)
    write_job(tmp_path / "3", {"optimizer.lr": 3}, [], seed=0, status="failed", reason="RuntimeError: out of memory")
    found = points_of(outcomes(tmp_path), "max")
    assert [point.values["optimizer.lr"] for point in found] == ["2", "1", "3"]
    assert [o.state for o in found[1].outcomes] == ["done", "diverged"]
    assert found[1].score.count == 1
    assert found[2].score is None


def test_effects_pair_jobs_that_differ_in_one_parameter_alone(tmp_path):
    # The learning rate adds 5; exp, which was run with the higher one alone, adds 1.
    write_grid(
        tmp_path,
        {("linear", 1): [80.0, 82.0], ("linear", 2): [85.0, 87.0], ("exp", 2): [86.0, 88.5], (None, 3): [70.0]},
    )
    found = effects(outcomes(tmp_path), "max")
    first, second, third = found["lr_schedule.warmup"]
    assert (first.value, first.behind, second.value) == ("exp", None, "linear")
    assert second.score.mean == 83.5
    assert (second.behind.mean, second.behind.count) == (-1.25, 2)
    assert (third.value, third.behind) == ("null", None)
    assert {e.value: e.behind and e.behind.mean for e in found["optimizer.lr"]} == {"2": None, "1": -5.0, "3": None}


def test_importance_is_the_share_of_the_variance(tmp_path):
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 1, (3, 3, 12))
    scores = {(w, lr): 50 + 4 * w + 2 * lr + noise[w, lr] for w in range(3) for lr in range(3)}
    write_grid(tmp_path, {key: list(map(float, values)) for key, values in scores.items()})
    found = importance(outcomes(tmp_path, when="final"))
    # Variances of the parts: 16 · 2/3, 4 · 2/3 and 1.
    total = 32 / 3 + 8 / 3 + 1
    assert found.parameters["lr_schedule.warmup"] == pytest.approx(32 / 3 / total, abs=0.06)
    assert found.parameters["optimizer.lr"] == pytest.approx(8 / 3 / total, abs=0.06)
    assert found.interactions == pytest.approx(0, abs=0.03)
    assert found.chance == pytest.approx(1 / total, abs=0.05)
    assert sum(found.parameters.values()) + found.interactions + found.chance == pytest.approx(1)


def test_a_combination_that_matters_is_told_from_chance(tmp_path):
    generator = np.random.default_rng(1)
    scores = {(w, lr): 50 + 9 * (w == lr) + generator.normal(0, 0.5, 8) for w in range(2) for lr in range(2)}
    write_grid(tmp_path, {key: list(map(float, values)) for key, values in scores.items()})
    found = importance(outcomes(tmp_path, when="final"))
    assert found.interactions > 0.9
    assert max(map(abs, found.parameters.values())) < 0.1


def test_parameters_that_vary_together_share_what_they_explain(tmp_path):
    write_grid(tmp_path, {(0, 0): [1.0, 1.1, 0.9], (1, 1): [2.0, 2.1, 1.9]})
    shares = importance(outcomes(tmp_path, when="final")).parameters
    assert shares["lr_schedule.warmup"] == pytest.approx(shares["optimizer.lr"])
    assert shares["optimizer.lr"] > 0.4


def test_a_number_with_many_values_is_cut_into_ranges(tmp_path):
    generator = np.random.default_rng(2)
    for n, lr in enumerate(generator.uniform(0, 1, 60)):
        values = {"optimizer.lr": float(lr), "optimizer.momentum": float(generator.uniform())}
        write_job(tmp_path / str(n), values, [50 + 10 * float(lr)])
    shares = importance(outcomes(tmp_path)).parameters
    assert shares["optimizer.lr"] > 0.85
    assert abs(shares["optimizer.momentum"]) < 0.1


def test_importance_is_not_told_of_too_few_jobs(tmp_path):
    write_grid(tmp_path, {(0, 1): [1.0], (1, 1): [2.0]})
    assert importance(outcomes(tmp_path)) is None
    write_grid(tmp_path / "equal", {(0, 1): [1.0, 1.0], (1, 1): [1.0, 1.0]})
    assert importance(outcomes(tmp_path / "equal", when="final")) is None


def test_a_value_that_a_job_was_not_told_is_the_configs(tmp_path):
    write_job(tmp_path / "0", {"optimizer.lr": 0.1, "lr_schedule": "cosine"}, [1.0])
    write_job(tmp_path / "1", {"optimizer.lr": 0.2}, [2.0])
    overrides = tmp_path / "1" / ".hydra" / "overrides.yaml"
    overrides.write_text("[seed=0]")
    found = outcomes(tmp_path)
    assert [o.values for o in found] == [
        {"optimizer.lr": "0.1", "lr_schedule": "cosine"},
        {"optimizer.lr": "0.2", "lr_schedule": "default"},
    ]


def test_names_are_as_short_as_they_can_be():
    assert short_names(["optimizer.lr", "lr_schedule.warmup", "momentum_schedule.warmup", "model"]) == {
        "optimizer.lr": "lr",
        "lr_schedule.warmup": "lr_schedule.warmup",
        "momentum_schedule.warmup": "momentum_schedule.warmup",
        "model": "model",
    }
