"""What the jobs of a sweep say together: of each point over its seeds, and of each parameter over all points."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hookline.sweep.outcomes import Outcome

CONFIDENCE = 0.95

# A number with more values than this is cut into this many ranges with about as many jobs each.
MOST_LEVELS = 6
# Of more parameters not all orders are gone through, but so many that are drawn.
EVERY_ORDER = 5
ORDERS = 200


@dataclass(frozen=True)
class Interval:
    """A mean with its uncertainty.

    Attributes:
        count: n, how many numbers it is of.
        mean: their mean.
        sd: their standard deviation, with n - 1 in the denominator; None of one number.
        half: half the 95 % interval; None of one number, and of equal ones, which say nothing of how far others are.
        p: the two-sided p-value of the hypothesis that the mean is 0 (Student's t-test); None as with `half`.
    """

    count: int
    mean: float
    sd: float | None
    half: float | None
    p: float | None


@dataclass(frozen=True)
class PointSummary:
    """A point, which is what the jobs share that differ in the seed alone.

    Attributes:
        values: the text of each swept parameter's value.
        outcomes: its jobs.
        missing: seeds that other points have and this one has no job of.
        score: over the jobs that are done; None if none is.
        behind: the paired difference to the best point, over the seeds that both have; None for the best itself, and
            where they share no seed.
    """

    values: dict[str, str]
    outcomes: list[Outcome]
    missing: list[str]
    score: Interval | None
    behind: Interval | None


@dataclass(frozen=True)
class Effect:
    """What goes with one value of a parameter.

    Attributes:
        value: the value's text.
        score: over all jobs that have it and are done, whatever else they have; None where all have diverged.
        behind: the difference to the parameter's first value in this list, over pairs of jobs that are equal in all
            other parameters and in the seed; None for that value, and where there is no pair.
        diverged: how many jobs with it have diverged, which are in none of the numbers above.
    """

    value: str
    score: Interval | None
    behind: Interval | None
    diverged: int


@dataclass(frozen=True)
class Importance:
    """Which share of the differences between the jobs goes with what; no share is below 0, and they add up to 1.

    Attributes:
        parameters: by key, the largest share first.
        interactions: what combinations of values add to that; None where it cannot be told from chance.
        chance: what differs between the seeds of a point; where no point has two, with the interactions.
    """

    parameters: dict[str, float]
    interactions: float | None
    chance: float


def interval(numbers: Iterable[float]) -> Interval:
    """Return the mean of numbers with Student's interval: mean ± t(0.975, n - 1) · sd / √n."""
    from scipy.stats import t

    x = np.asarray(list(numbers), dtype=float)
    count, mean = len(x), float(x.mean())
    if count < 2:
        return Interval(count, mean, None, None, None)
    sd = float(x.std(ddof=1))
    if sd == 0:
        return Interval(count, mean, sd, None, None)
    error = sd / math.sqrt(count)
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    return Interval(count, mean, sd, half, float(2 * t.sf(abs(mean) / error, count - 1)))


def points_of(outcomes: Sequence[Outcome], mode: str) -> list[PointSummary]:
    """Return the points, the best mean first.

    A point with a job that diverged stands behind those without, whatever its other seeds have reached, and one without
    a number last. The best point was chosen for being best, so what it has reached is a little too good, and so are the
    differences to it; they are not corrected for how many there are.
    """
    by_point: dict[tuple[str, ...], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_point[outcome.point].append(outcome)
    seeds = list(dict.fromkeys(outcome.seed for outcome in outcomes))
    sign = -1 if mode == "max" else 1
    found = []
    for jobs in by_point.values():
        scores = [job.score for job in jobs if job.score is not None]
        missing = [seed for seed in seeds if seed not in {job.seed for job in jobs}]
        found.append(PointSummary(jobs[0].values, jobs, missing, interval(scores) if scores else None, None))

    def place(point: PointSummary) -> tuple[bool, bool, float]:
        diverged = any(job.state == "diverged" for job in point.outcomes)
        return point.score is None, diverged, sign * point.score.mean if point.score else 0.0

    found.sort(key=place)
    best = _by_seed(found[0]) if found else {}
    behind = [_paired(_by_seed(point), best) if number else None for number, point in enumerate(found)]
    return [
        PointSummary(point.values, point.outcomes, point.missing, point.score, difference)
        for point, difference in zip(found, behind, strict=True)
    ]


def effects(outcomes: Sequence[Outcome], mode: str) -> dict[str, list[Effect]]:
    """Return what goes with each value of each swept parameter, the value with the best mean first.

    Values with which all jobs diverged stand last.

    The mean over all jobs with a value also has what those jobs differ in otherwise, where the sweep is no full grid;
    the paired difference has not, as all else is equal in its pairs. Its interval takes the pairs as independent.
    """
    done = [outcome for outcome in outcomes if outcome.score is not None]
    diverged = [outcome for outcome in outcomes if outcome.state == "diverged"]
    found = {}
    for key in done[0].values if done else ():
        # The jobs with each value, by all that may be equal in a pair.
        by_value: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
        for outcome in done:
            others = (outcome.seed, *(text for name, text in outcome.values.items() if name != key))
            by_value[outcome.values[key]][others] = outcome.score or 0.0
        scores = {value: interval(jobs.values()) for value, jobs in by_value.items()}
        order = sorted(scores, key=lambda value: scores[value].mean, reverse=mode == "max")
        first = by_value[order[0]]
        lost = Counter(outcome.values[key] for outcome in diverged)
        found[key] = [
            Effect(value, scores[value], _paired(by_value[value], first) if number else None, lost[value])
            for number, value in enumerate(order)
        ] + [Effect(value, None, None, count) for value, count in lost.items() if value not in scores]
    return found


def importance(outcomes: Sequence[Outcome]) -> Importance | None:
    """Return how much of the variance between the jobs each swept parameter explains, or None.

    The model is additive: score = constant + one number for each value of each parameter, fitted by least squares. What
    a set of parameters explains is its adjusted R² = 1 - (1 - R²)(n - 1)/(n - rank), which is 0 in expectation for
    parameters without effect, however many values they have. A parameter's share is what it adds to those before it,
    averaged over all orders of the parameters: the Shapley value, known in regression as LMG (Lindeman, Merenda and
    Gold, 1980; Grömping, 2007, https://doi.org/10.1198/000313007X188252). So the shares add up to what the model
    explains, and parameters that vary together, as in a union of grids, divide what they explain together.

    `interactions` is what a model with a number of its own for each point explains beyond the additive one, by adjusted
    R², and `chance` is the rest. A share that comes out below 0, which only chance can make it, is 0, and the others
    are divided by their sum, which then is above 1.

    It is None where there are no two parameters' values to compare, no differences, or not more jobs than the model has
    numbers. A parameter with more than 6 numeric values is cut into 6 ranges of about as many jobs each.
    """
    done = [outcome for outcome in outcomes if outcome.score is not None]
    y = np.array([outcome.score for outcome in done], dtype=float)
    columns = {key: _levels([outcome.values[key] for outcome in done]) for key in (done[0].values if done else ())}
    columns = {key: levels for key, levels in columns.items() if len(set(levels)) > 1}
    if not columns or float(np.ptp(y)) == 0:
        return None
    designs = {key: _dummies(levels) for key, levels in columns.items()}
    known: dict[frozenset[str], float | None] = {frozenset(): 0.0}

    def explained(keys: frozenset[str]) -> float | None:
        if keys not in known:
            known[keys] = _adjusted([designs[key] for key in columns if key in keys], y)
        return known[keys]

    whole = explained(frozenset(columns))
    if whole is None:
        return None
    shares = dict.fromkeys(columns, 0.0)
    orders = _orders(list(columns))
    for order in orders:
        before = frozenset[str]()
        for key in order:
            # A part of a model that has fewer numbers than jobs has fewer, too.
            shares[key] += ((explained(before | {key}) or 0.0) - (explained(before) or 0.0)) / len(orders)
            before |= {key}
    cells = _adjusted([_dummies(["\0".join(outcome.point) for outcome in done])], y)
    interactions = None if cells is None else max(0.0, cells - whole)
    chance = 1 - whole - (interactions or 0.0)
    above = {key: max(0.0, share) for key, share in shares.items()}
    total = sum(above.values()) + (interactions or 0.0) + chance
    ranked = dict(sorted(((key, share / total) for key, share in above.items()), key=lambda pair: -pair[1]))
    return Importance(ranked, None if interactions is None else interactions / total, chance / total)


def _by_seed(point: PointSummary) -> dict[str, float]:
    return {job.seed: job.score for job in point.outcomes if job.score is not None}


def _paired(those: Mapping[Any, float], best: Mapping[Any, float]) -> Interval | None:
    """Return the differences to the best in what both have; None where they have nothing in common."""
    differences = [score - best[key] for key, score in those.items() if key in best]
    return interval(differences) if differences else None


def _levels(texts: Sequence[str]) -> list[str]:
    """Return the values of a parameter, of which there are few."""
    if len(set(texts)) <= MOST_LEVELS:
        return list(texts)
    try:
        numbers = np.array([float(text) for text in texts])
    except ValueError:
        return list(texts)
    inner = np.quantile(numbers, np.linspace(0, 1, MOST_LEVELS + 1)[1:-1])
    return [str(place) for place in np.searchsorted(inner, numbers)]


def _dummies(levels: Sequence[str]) -> np.ndarray:
    """Return a column for each level, 1 in the rows that have it, [rows, levels]."""
    names = sorted(set(levels))
    return np.array([[float(level == name) for name in names] for level in levels])


def _adjusted(designs: Sequence[np.ndarray], y: np.ndarray) -> float | None:
    """Return the adjusted R² of the least-squares fit; None where it has as many numbers as there are rows."""
    x = np.column_stack([np.ones(len(y)), *designs])
    coefficients, _, rank, _ = np.linalg.lstsq(x, y, rcond=None)
    if len(y) <= rank:
        return None
    residual, total = float(((y - x @ coefficients) ** 2).sum()), float(((y - y.mean()) ** 2).sum())
    return 1 - residual / (len(y) - int(rank)) * (len(y) - 1) / total


def _orders(keys: list[str]) -> list[tuple[str, ...]]:
    if len(keys) <= EVERY_ORDER:
        return list(itertools.permutations(keys))
    generator = random.Random(0)
    return [tuple(generator.sample(keys, len(keys))) for _ in range(ORDERS)]
