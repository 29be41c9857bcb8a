"""What is computed for many GPUs follows from the formulas of docs/scaling.md; what is measured is printed."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def scaling(benchmark):
    return benchmark("scaling")


def test_a_reduction_takes_its_bytes_and_its_steps(scaling):
    cluster = scaling.Cluster(inside=100e9, across=50e9, latency=1e-6, node=8, efficiency=0.5)
    assert cluster.reduction(100e6, 1) == 0
    # In a node: 2 * 7/8 * 100 MB over 50 GB/s, and 14 steps of a microsecond.
    assert cluster.reduction(100e6, 8) == pytest.approx(3.5e-3 + 14e-6)
    # Over 64 nodes: half the bandwidth, and six levels of a tree up and down.
    assert cluster.reduction(100e6, 512) == pytest.approx(2 * 511 / 512 * 100e6 / 25e9 + 26e-6)


def test_a_batch_stays_below_its_bound_and_overlap_hides_what_fits(scaling):
    cluster = scaling.Cluster(images_per_second=1000, inside=10e9, across=1e9, latency=0, node=8, efficiency=1)
    one, eight, many = (
        scaling.project(cluster, gpus, gradient=100e6, batch=100, most=6400, bucket=25e6) for gpus in (1, 8, 128)
    )
    assert (one.batch, eight.batch, many.batch) == (100, 800, 6400)
    assert (one.worst, one.best, one.images_per_second) == (1, 1, 1000)
    # 17.5 ms of reduction beside 100 ms of work: all of it, or its last quarter.
    assert eight.worst == pytest.approx(100 / 117.5)
    assert eight.best == pytest.approx(100 / (100 + 17.5 / 4))
    assert eight.images_per_second == pytest.approx(8000 * eight.best)
    # 50 images take 50 ms, under two thirds of which three quarters of 198 ms do not fit.
    share = 1000 * 2 * 127 / 128 * 0.1
    assert many.best == pytest.approx(50 / (50 + share / 4 + share * 3 / 4 - 50 * 2 / 3))
    assert many.best >= many.worst


@pytest.mark.slow
def test_what_is_measured_is_printed(scaling, tmp_path, capsys):
    file = tmp_path / "numbers.json"
    small = ["--model", "test_resnet", "--measured-batch", "2", "--size", "64", "--rounds", "1", "--gpus", "1", "16"]
    scaling.main([*small, "--json", str(file)])
    printed = capsys.readouterr().out
    assert "Computed, not measured" in printed
    found = json.loads(file.read_text())
    assert found["measured"]["backend"] in ("gloo", "nccl")
    assert found["measured"]["reduction_seconds"]["median"] > 0
    assert [row["gpus"] for row in found["computed"]] == [1, 16]
