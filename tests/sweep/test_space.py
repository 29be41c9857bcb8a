"""What Hydra's grammar says of values is what a search draws from."""

from __future__ import annotations

import pytest

pytest.importorskip("optuna")

from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hookline.config.errors import ConfigError
from hookline.sweep.space import first_of, space_of, written


def of(*overrides: str):
    return space_of(OverridesParser.create().parse_overrides(list(overrides)))


@pytest.mark.parametrize(
    ("value", "distribution"),
    [
        ("linear,exp", CategoricalDistribution(["linear", "exp"])),
        ("1,3,null", CategoricalDistribution(["1", "3", "null"])),
        ("interval(0,1)", FloatDistribution(0, 1)),
        ("tag(log,interval(1e-4,0.1))", FloatDistribution(1e-4, 0.1, log=True)),
        ("int(interval(1,9))", IntDistribution(1, 9)),
        ("tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("range(1,6)", IntDistribution(1, 5)),
        ("range(0,10,4)", IntDistribution(0, 8, step=4)),
        ("range(0,1,0.25)", FloatDistribution(0, 0.75, step=0.25)),
    ],
)
def test_values_become_distributions(value, distribution):
    assert of(f"a.b={value}") == ({"a.b": distribution}, [])


def test_what_has_one_value_is_fixed_and_the_last_word_holds():
    space, fixed = of("lr=1,2", "seed=3", "+x.y='a b'", "~z", "lr=7", "seed=1,2")
    assert list(space) == ["seed"]
    assert fixed == ["+x.y='a b'", "~z", "lr=7"]


@pytest.mark.parametrize("value", ["range(5,5)", "interval(2,1)", "tag(log,interval(0,1))"])
def test_what_is_no_space_is_told(value):
    with pytest.raises(ConfigError, match=r"^lr="):
        of(f"lr={value}")


def test_a_point_is_written_as_overrides_short_and_readable():
    assert written("lr", 0.0123456789) == "lr=0.01235"
    assert written("lr", 1.23456e-5) == "lr=1.235e-05"
    assert written("n", 12345678) == "n=12345678"
    assert written("w", "'a b'") == "w='a b'"
    assert first_of(of("w=linear,exp", "lr=interval(0.5,1)")[0]) == ["w=linear", "lr=0.5"]
