"""A part that is held out of a data set which has no validation part of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hookline.config.checks import check_number
from hookline.data.randomness import seed_of


@dataclass(frozen=True)
class HeldOut:
    """A part of each class that is held out for validation.

    Which samples those are depends on their names and the seed, and neither on their order nor on the run's seed. So a
    file that is added leaves most of the others where they were.

    Attributes:
        val_fraction: the share of each class; a class of two or more has a sample in both splits.
        split_seed: chooses which samples those are.
    """

    val_fraction: float
    split_seed: int

    def __post_init__(self) -> None:
        check_number("val_fraction", self.val_fraction, gt=0, lt=1)
        check_number("split_seed", self.split_seed, integer=True)

    def rows_of(self, split: str, names: Sequence[str], labels: Sequence[object]) -> list[int]:
        """Return the indices of a split's samples, in order, among the names and labels of all."""
        by_class: dict[object, list[int]] = {}
        for index, label in enumerate(labels):
            by_class.setdefault(label, []).append(index)
        val: set[int] = set()
        for indices in by_class.values():
            count = min(max(1, round(self.val_fraction * len(indices))), len(indices) - 1)
            val.update(
                sorted(indices, key=lambda index: seed_of(self.split_seed, "val_fraction", names[index]))[:count]
            )
        return [index for index in range(len(names)) if (index in val) == (split == "val")]
