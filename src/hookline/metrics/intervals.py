"""How sure numbers are: bootstrap intervals, and whether two models differ on the same samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hookline.metrics.scores import BINS, NUMBERS, Samples

LEVEL = 95

# Work that the ranking numbers (map, auroc) may take: resamples times samples times classes.
RANKING_WORK = 3e9
FEWEST = 100


def bootstrap(samples: Samples, resamples: int, seed: int) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each number of `NUMBERS`, from the 2.5th to the 97.5th percentile of resamples.

    A resample draws N of the N samples with replacement (Efron, 1979). In one that lacks a class, the mean is over the
    other classes. `map` and `auroc`, which sort, take fewer resamples where there are very many samples and classes.

    Args:
        samples: what is resampled.
        resamples: how many times.
        seed: of the draws.
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in NUMBERS}
    ranked = int(np.clip(RANKING_WORK / (len(samples) * samples.classes), FEWEST, resamples))
    done = 0
    for weights in _resamples(len(samples), resamples, seed):
        numbers = _of_resamples(samples, weights)
        if done < ranked:
            numbers |= _ranking(samples, weights)
        for name, values in numbers.items():
            found[name].append(values)
        done += len(weights)
    tail = (100 - LEVEL) / 2
    return {name: _percentiles(np.concatenate(values), tail) for name, values in found.items()}


def mcnemar(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Return McNemar's exact test of whether two models are right equally often on the same samples.

    Of `n = only_first + only_second` samples that just one of them gets right, `p` is the probability of a split at
    least as uneven if each were as likely (two-sided binomial test; McNemar, 1947).

    Args:
        first: 1 for each sample that the first model gets right, else 0 `[N]`.
        second: the same of the second.

    Returns:
        dict: `only_first`, `only_second`, `both`, `neither`, and `p`.
    """
    from scipy.stats import binomtest

    a, b = first.astype(bool), second.astype(bool)
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    discordant = only_first + only_second
    p = binomtest(only_first, discordant).pvalue if discordant else 1.0
    return {
        "only_first": only_first,
        "only_second": only_second,
        "both": int((a & b).sum()),
        "neither": int((~a & ~b).sum()),
        "p": float(p),
    }


def paired_interval(first: np.ndarray, second: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the difference in top-1, second minus first, in percentage points."""
    gap = 100 * (second.astype(np.float64) - first.astype(np.float64))
    means = [weights @ gap / len(gap) for weights in _resamples(len(gap), resamples, seed)]
    return _percentiles(np.concatenate(means), (100 - LEVEL) / 2)


def _resamples(count: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each sample is drawn, float64 `[some resamples, N]`, in parts that fit into memory."""
    random = np.random.default_rng(seed)
    size = max(1, min(FEWEST, int(2e7 / count)))
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        drawn = random.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def _of_resamples(samples: Samples, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the numbers that need no sorting, of each resample."""
    count, classes = len(samples), samples.classes
    found = {
        "top1": 100 * (weights @ samples.top(1)) / count,
        "top5": 100 * (weights @ samples.top(5)) / count,
        "loss": weights @ samples.losses / count,
        "brier_error": weights @ samples.brier / count,
    }
    gaps = samples.top(1) - samples.confidence
    in_bins = [weights[:, samples.bins == b] @ gaps[samples.bins == b] for b in range(BINS)]
    found["ece"] = 100 * np.abs(in_bins).sum(axis=0) / count
    right = samples.top(1).astype(bool)
    true = np.array([np.bincount(samples.labels, row, minlength=classes) for row in weights])
    said = np.array([np.bincount(samples.predicted, row, minlength=classes) for row in weights])
    hits = np.array([np.bincount(samples.labels[right], row[right], minlength=classes) for row in weights])
    there = true > 0
    classes_there = np.maximum(there.sum(axis=1), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = np.nan_to_num(hits / said), np.nan_to_num(hits / true)
        f1 = np.nan_to_num(2 * hits / (said + true))
        for name, values in {"precision": precision, "recall": recall, "f1": f1}.items():
            found[name] = 100 * (values * there).sum(axis=1) / classes_there
        # Both are functions of what is right, and of how often each class is there and is said (Gorodkin, 2004).
        agreed, chance = hits.sum(axis=1) * count, (true * said).sum(axis=1)
        spread = np.sqrt((count**2 - (said**2).sum(axis=1)) * (count**2 - (true**2).sum(axis=1)))
        found["mcc"] = np.nan_to_num((agreed - chance) / spread)
        found["kappa"] = np.nan_to_num((agreed - chance) / (count**2 - chance))
    return found


def _ranking(samples: Samples, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return mean average precision and mean area under the ROC curve of each resample."""
    ap, auroc, there = np.zeros(len(weights)), np.zeros(len(weights)), np.zeros(len(weights))
    for label in np.unique(samples.labels):
        shares = samples.probabilities[:, label]
        order = np.argsort(-shares, kind="stable")
        own = (samples.labels[order] == label).astype(np.float64)
        last = np.append(np.flatnonzero(np.diff(shares[order])), len(order) - 1)  # samples of one share are one step
        drawn = weights[:, order]
        hits, all_ = np.cumsum(drawn * own, axis=1)[:, last], np.cumsum(drawn, axis=1)[:, last]
        total = hits[:, -1]
        rise = np.diff(hits, axis=1, prepend=0)
        misses = all_ - hits
        with np.errstate(divide="ignore", invalid="ignore"):
            ap += np.nan_to_num((rise * np.nan_to_num(hits / all_)).sum(axis=1) / total)
            steps = np.diff(misses, axis=1, prepend=0)
            area = (steps * (hits - rise / 2)).sum(axis=1)
            auroc += np.nan_to_num(area / (total * misses[:, -1]))
        there += total > 0
    return {"map": 100 * ap / np.maximum(there, 1), "auroc": 100 * auroc / np.maximum(there, 1)}


def _percentiles(values: np.ndarray, tail: float) -> tuple[float, float]:
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
