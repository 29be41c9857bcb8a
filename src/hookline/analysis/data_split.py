"""Which samples go to training, validation and test: a function of the labels, the groups and a seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from hookline.data.randomness import seed_of

PARTS = ("train", "val", "test")


def split_samples(
    labels: Sequence[str], shares: Mapping[str, float], *, seed: int = 0, groups: Sequence[Hashable] | None = None
) -> list[str]:
    """Return the part of each sample: `train`, `val` or `test`.

    Every class is spread over the parts by their shares, as far as whole samples allow, and every class has a sample in
    training. With groups, all samples of one are in the same part.

    Args:
        labels: the class of each sample.
        shares: of `val` and `test`, of all samples; what is left is training.
        seed: of the choice.
        groups: what each sample belongs to, such as the patient that it is of; None: each is a group of its own.
    """
    random = np.random.default_rng(seed_of(seed, "split"))
    if groups is None:
        return _systematic(labels, shares, random)
    return _by_groups(labels, shares, groups, random)


def _systematic(labels: Sequence[str], shares: Mapping[str, float], random: np.random.Generator) -> list[str]:
    """Go through the samples class by class, in a random order in each, and take every so manieth.

    So the parts have their shares of all samples and of each class, each rounded once: of ten classes with four samples
    each a tenth is four samples, and not none.
    """
    shuffled = random.permutation(len(labels)).tolist()
    order = sorted(shuffled, key=lambda index: labels[index])
    parts = ["train"] * len(labels)
    left = 1.0
    for part in ("test", "val"):
        share = shares.get(part, 0.0) / left
        left -= shares.get(part, 0.0)
        rest = [index for index in order if parts[index] == "train"]
        # Rounded down after each sample: the part takes one where this grows. It begins in the middle of a step.
        taken = np.floor(share * np.arange(len(rest) + 1) + 0.5 + 1e-9)
        for number, index in enumerate(rest):
            if taken[number + 1] > taken[number]:
                parts[index] = part
    missing = set(labels) - {label for label, part in zip(labels, parts, strict=True) if part == "train"}
    for index in order:
        if labels[index] in missing:
            missing.discard(labels[index])
            parts[index] = "train"
    return parts


def _by_groups(
    labels: Sequence[str], shares: Mapping[str, float], groups: Sequence[Hashable], random: np.random.Generator
) -> list[str]:
    """Give each group, large ones first, to the part that lacks most of what the group has."""
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    names = list(members)
    shuffled = [names[number] for number in random.permutation(len(names))]
    totals = Counter(labels)
    share = {"train": 1 - sum(shares.values()), **shares}
    wanted = {part: {label: share[part] * count for label, count in totals.items()} for part in share if share[part]}
    parts = [""] * len(labels)
    for group in sorted(shuffled, key=lambda name: len(members[name]), reverse=True):
        counts = Counter(labels[index] for index in members[group])

        # By how much the part's distances from what is wanted, each relative to its class, shrink.
        def gain(part: str, counts: Counter[str] = counts) -> float:
            return sum(
                count * (2 * wanted[part][label] - count) / (totals[label] ** 2 * share[part])
                for label, count in counts.items()
            )

        best = max(wanted, key=gain)
        for label, count in counts.items():
            wanted[best][label] -= count
        for index in members[group]:
            parts[index] = best
    return parts
