"""Which samples an epoch has: a function of seed and epoch, with every sample as often as was asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.config.errors import ParameterError
from hookline.data.sampler import Sampler, stratified

COUNTS = [60, 30, 9, 1]
TARGETS = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))[
    torch.randperm(100, generator=torch.Generator().manual_seed(0))
]


def samples(sampler: Sampler, seed: int = 0, epoch: int = 0) -> list[int]:
    return sampler.order(seed, epoch).samples.tolist()


OPTIONS = {
    "shuffled": {},
    "subset": {"pool": stratified(TARGETS, 0.3)},
    "weighted": {"weights": torch.arange(100.0)},
    "repeated": {"repeats": 3},
    "longer": {"samples_per_epoch": 250},
    "all": {"pool": stratified(TARGETS, 0.5), "weights": torch.ones(100), "repeats": 2, "samples_per_epoch": 33},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_epoch_is_a_function_of_seed_and_epoch(name):
    sampler = Sampler(TARGETS, shuffle=True, **OPTIONS[name])
    twin = Sampler(TARGETS, shuffle=True, **OPTIONS[name])
    assert samples(sampler, 3, 5) == samples(twin, 3, 5)
    assert len(samples(sampler)) == len(sampler)
    drawn = [samples(sampler, *which) for which in ((3, 5), (3, 6), (4, 5))]
    assert drawn[0] != drawn[1]
    assert drawn[0] != drawn[2]


def test_without_a_choice_each_epoch_has_each_sample_once_in_a_new_order():
    sampler = Sampler(TARGETS, shuffle=True)
    orders = [samples(sampler, epoch=epoch) for epoch in range(3)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert samples(Sampler(TARGETS)) == list(range(100)), "not shuffled"


@settings(max_examples=30, deadline=None)
@given(length=st.integers(1, 350), repeats=st.integers(1, 4))
def test_over_the_epochs_each_sample_comes_equally_often(length, repeats):
    sampler = Sampler(TARGETS, shuffle=True, samples_per_epoch=length, repeats=repeats)
    seen = torch.zeros(100, dtype=torch.long)
    for epoch in range(6):
        order = sampler.order(1, epoch)
        assert len(order.samples) == length
        seen += torch.bincount(order.samples, minlength=100)
    assert int(seen.max() - seen.min()) <= repeats


@pytest.mark.parametrize("repeats", [2, 3])
def test_repeats_stand_side_by_side_and_leave_the_length(repeats):
    order = Sampler(TARGETS, shuffle=True, repeats=repeats).order(0, 0)
    assert len(order.samples) == 100
    groups = order.samples.split(repeats)
    assert all(len(set(group.tolist())) == 1 for group in groups)
    assert len({int(group[0]) for group in groups}) == len(groups)
    assert order.repeats.tolist() == [place % repeats for place in range(100)]


def test_what_comes_again_is_counted():
    order = Sampler(TARGETS[:3], shuffle=True, samples_per_epoch=10).order(0, 0)
    seen: dict[int, int] = {}
    for sample, repeat in zip(order.samples.tolist(), order.repeats.tolist(), strict=True):
        assert repeat == seen.get(sample, 0)
        seen[sample] = repeat + 1


@pytest.mark.parametrize("length", [None, 40, 4000])
def test_balanced_classes_come_equally_often(length):
    weights = 1 / torch.tensor(COUNTS).double()[TARGETS]
    sampler = Sampler(TARGETS, shuffle=True, weights=weights, samples_per_epoch=length)
    for epoch in range(3):
        order = sampler.order(0, epoch).samples
        counts = torch.bincount(TARGETS[order])
        assert len(order) == (length or 100)
        assert int(counts.max() - counts.min()) <= 2


def test_weights_are_expected_numbers():
    weights = torch.rand(100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights[[3, 50]] = 0
    order = Sampler(TARGETS, shuffle=True, weights=weights, samples_per_epoch=5000).order(0, 0).samples
    expected = 5000 * weights / weights.sum()
    assert float((torch.bincount(order, minlength=100) - expected).abs().max()) <= 1 + 1e-9


def test_weighted_samples_come_in_a_random_order():
    targets = TARGETS[Sampler(TARGETS, shuffle=True, weights=torch.ones(100)).order(0, 0).samples]
    assert int((targets.diff() != 0).sum()) > 20


@settings(max_examples=30, deadline=None)
@given(fraction=st.floats(0.01, 1), seed=st.integers(0, 100))
def test_a_subset_is_stratified(fraction, seed):
    chosen = stratified(TARGETS, fraction, seed)
    counts = torch.bincount(TARGETS[chosen], minlength=4).tolist()
    assert counts == [max(1, round(fraction * count)) for count in COUNTS]
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert set(chosen.tolist()) <= set(stratified(TARGETS, min(1.0, 1.5 * fraction), seed).tolist())


def test_a_subset_is_the_same_in_each_epoch_and_another_by_its_seed():
    pool = stratified(TARGETS, 0.3)
    sampler = Sampler(TARGETS, shuffle=True, pool=pool)
    assert all(sorted(samples(sampler, seed, seed)) == pool.tolist() for seed in range(3))
    assert pool.tolist() != stratified(TARGETS, 0.3, seed=1).tolist()


def test_a_substitute_is_one_of_the_samples_to_choose_from():
    pool = stratified(TARGETS, 0.1)
    weights = (TARGETS != 0).double()
    sampler = Sampler(TARGETS, shuffle=True, pool=pool, weights=weights)
    found = {sampler.substitute(0, epoch, 7, 0) for epoch in range(50)}
    assert found <= {sample for sample in pool.tolist() if TARGETS[sample] != 0}
    assert len(found) > 1


def test_the_fingerprint_changes_with_what_is_chosen():
    found = {name: Sampler(TARGETS, shuffle=True, **options).fingerprint() for name, options in OPTIONS.items()}
    assert found["shuffled"] is None
    assert len(set(found.values())) == len(OPTIONS)
    assert found["subset"] != Sampler(TARGETS, pool=stratified(TARGETS, 0.3, seed=1)).fingerprint()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("repeats", 0), ("repeats", 1.5), ("repeats", 10**12)],
        *[("samples_per_epoch", 0), ("samples_per_epoch", True), ("samples_per_epoch", 10**14)],
    ],
)
def test_wrong_numbers_are_told(name, value):
    with pytest.raises(ParameterError, match=f"^{name}="):
        Sampler(TARGETS, **{name: value})


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, True, "half"])
def test_a_fraction_is_above_0_and_at_most_1(fraction):
    with pytest.raises(ParameterError, match=r"^subset="):
        stratified(TARGETS, fraction)
