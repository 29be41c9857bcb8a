"""Random numbers are functions of what they are for."""

from __future__ import annotations

import itertools

import numpy

from hookline.data.randomness import sample_generator

USUAL = {"seed": 1, "epoch": 2, "name": "crop", "sample": 3, "repeat": 0}


def test_the_same_purpose_gives_the_same_numbers():
    assert sample_generator(**USUAL).random(9).tolist() == sample_generator(**USUAL).random(9).tolist()


def test_another_purpose_gives_others():
    others = [{"seed": 2}, {"epoch": 3}, {"name": "flip"}, {"sample": 4}, {"repeat": 1}]
    drawn = [sample_generator(**USUAL | other).random(50) for other in ({}, *others)]
    # Shifted against each other, too, as neighbouring counters of one stream would be.
    for one, other in itertools.combinations(drawn, 2):
        assert not set(one.tolist()) & set(other.tolist())


def test_the_numbers_of_consecutive_samples_are_uniform():
    first = numpy.array([sample_generator(0, 0, "flip", sample).random() for sample in range(4000)])
    counts, _ = numpy.histogram(first, bins=20, range=(0, 1))
    # Chi-squared with 19 degrees of freedom is above 43.8 once in a thousand times; nothing is random here.
    assert float(((counts - 200) ** 2 / 200).sum()) < 43.8
