"""Names of folders made of overrides."""

from __future__ import annotations

import pytest

from hookline.config.folder_names import folder_name, sweep_name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["optimizer.lr=0.1", "seed=2"], "lr=0.1,seed=2"),
        (["a.lr=1", "b.lr=2"], "a.lr=1,b.lr=2"),
        (["+model.drop_rate=0.2"], "drop_rate=0.2"),
        ([], "all"),
    ],
)
def test_it_reads_as_the_overrides(overrides, name):
    assert folder_name(overrides) == name


@pytest.mark.parametrize("value", ["a/b", "../..", "ünïcode", "'quoted $(x)'", "x" * 255, "[1,2]", "a b", "\n", "~"])
def test_it_is_short_and_safe(value):
    name = folder_name([f"data.root={value}"])
    assert len(name.encode()) <= 100
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._=+,-")
    assert name[0] not in ".-"
    assert name != folder_name([f"data.root={value}!"])


def test_what_takes_several_values_is_in_a_sweeps_name_by_its_key():
    first = sweep_name(["lr_schedule=cosine", "lr_schedule.warmup=linear,exp", "seed=0,1", "launcher.slots=2"])
    assert first == "lr_schedule=cosine,warmup,seed"
    assert first == sweep_name(["lr_schedule=cosine", "lr_schedule.warmup=linear,exp,constant", "seed=range(0,9)"])
    assert sweep_name(["lr_schedule=step", "seed=0,1"]) != sweep_name(["lr_schedule=cosine", "seed=0,1"])
