"""What data.sampler can be."""

from __future__ import annotations

import pytest
import torch
from tests.toy import ToySource

from hookline.config.errors import ParameterError
from hookline.data.weights import sample_weights


@pytest.fixture
def source() -> ToySource:
    return ToySource(samples=8, classes=3)  # 3, 3 and 2 of the classes 0, 1 and 2, in turn


def test_balanced_classes_have_the_same_sum(source):
    weights = sample_weights("class_balanced", source)
    sums = torch.zeros(3, dtype=torch.float64).index_add_(0, source.targets, weights)
    torch.testing.assert_close(sums, torch.ones(3, dtype=torch.float64))


def test_balanced_classes_have_the_same_sum_among_what_is_visited(source):
    pool = torch.tensor([0, 1, 2, 3, 6])  # 3, 1 and 1
    weights = sample_weights("class_balanced", source, pool)[pool]
    sums = torch.zeros(3, dtype=torch.float64).index_add_(0, source.targets[pool], weights)
    torch.testing.assert_close(sums, torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("given", [{"1": 3, "2": 0}, {1: 3.0, 2: 0.0}, [1, 3, 0]])
def test_weights_of_classes(source, given):
    assert sample_weights(given, source).tolist() == [1, 3, 0, 1, 3, 0, 1, 3]


def test_weights_of_samples_from_a_file(source, tmp_path):
    path = tmp_path / "weights.txt"
    path.write_text("".join(f"{number / 2}\n" for number in range(8)))
    assert sample_weights(str(path), source).tolist() == [number / 2 for number in range(8)]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("balanced", "must be null, class_balanced, .* No such file"),
        ({"7": 2}, "'7' is none"),
        ([1, 2], "3 weights, one for each of the classes, not 2"),
        ([1, 2, -1], "at least 0, and -1 is none"),
        ([1, True, 1], "at least 0, and True is none"),
        ({"1": "many"}, "'many' is none"),
        ([1, 2, float("nan")], "nan is none"),
        ([1e308] * 3, "a finite sum above 0 over the samples, not inf"),
        ([0, 0, 0], "a finite sum above 0 over the samples, not 0"),
        (0.5, "must be null, class_balanced"),
    ],
)
def test_what_is_none_is_told(source, given, told):
    with pytest.raises(ParameterError, match=told) as error:
        sample_weights(given, source)
    assert str(error.value).startswith("sampler=")


@pytest.mark.parametrize(
    ("text", "told"), [("1\n2\n", "8 weights, one for each of the samples, not 2"), ("1 x", "'x'")]
)
def test_a_wrong_file_is_told(source, tmp_path, text, told):
    path = tmp_path / "weights.txt"
    path.write_text(text)
    with pytest.raises(ParameterError, match=told):
        sample_weights(str(path), source)
