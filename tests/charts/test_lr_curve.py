"""The chart of recorded or previewed curves."""

from __future__ import annotations

import numpy as np
import pytest

from hookline.charts.lr_curve import decimate, draw_lr_curve


def test_decimate_keeps_a_single_peak_and_both_ends():
    values = np.linspace(1, 0, 375_300)
    values[123_456] = 9.0
    index, kept = decimate(values)
    assert len(index) <= 4000
    assert index[0] == 0
    assert index[-1] == 375_299
    assert kept.max() == 9.0
    assert index[kept.argmax()] == 123_456


def test_decimate_leaves_a_short_curve_alone():
    index, kept = decimate([0.3, 0.2, 0.1])
    assert index.tolist() == [0, 1, 2]
    assert kept.tolist() == [0.3, 0.2, 0.1]


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_draws_groups_momentum_and_warmup(tmp_path, suffix):
    path = tmp_path / "new" / f"lr_curve.{suffix}"
    lr = {"lr_0": [0.1] * 20, "lr_1": [0.01 * i for i in range(20)]}
    draw_lr_curve(path, lr=lr, momentum={"momentum_0": [0.9] * 20}, iters_per_epoch=5, warmup_end=5, title="t")
    assert path.read_bytes()[:4] == {"png": b"\x89PNG", "pdf": b"%PDF"}[suffix]


def test_curves_of_unlike_length_and_warmup(tmp_path):
    path = tmp_path / "lr_curve.png"
    many = {f"lr_{i}": [0.1 * i] * (10 + i) for i in range(40)}
    draw_lr_curve(path, lr=many, iters_per_epoch=5, warmup_end={"lr_3": 4})
    assert path.stat().st_size > 10_000


def test_leaves_no_global_state(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw_lr_curve(tmp_path / "a.png", lr={"lr_0": [0.1, 0.1]}, iters_per_epoch=1)
    assert dict(matplotlib.rcParams) == before
