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


def drawn(monkeypatch, tmp_path, **given):
    """Return the figure that a chart was made of."""
    from matplotlib.figure import Figure

    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kw: figures.append(self) or save(self, *args, **kw))
    draw_lr_curve(tmp_path / "drawn.png", iters_per_epoch=5, **given)
    return figures[-1]


def legend(figure):
    (found,) = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    return found


@pytest.mark.parametrize("count", [2, 5, 9, 30])
def test_a_legend_of_many_names_stands_beside_the_curves(monkeypatch, tmp_path, count):
    figure = drawn(monkeypatch, tmp_path, lr={f"lr_{i}": [0.1 * (i + 1), 0.0] for i in range(count)})
    curves, names = figure.axes[0].get_window_extent(), legend(figure).get_window_extent()
    assert curves.overlaps(names) == (count <= 4)
    assert len(figure.axes[0].get_lines()) == count


def test_of_many_curves_the_highest_the_lowest_and_some_between_are_named(monkeypatch, tmp_path):
    figure = drawn(monkeypatch, tmp_path, lr={f"lr_{i}": [0.1 * i, 0.0] for i in range(1, 31)})
    names = [text.get_text() for text in legend(figure).get_texts()]
    assert len(names) == 12
    assert (names[0], names[-1]) == ("lr_30", "lr_1")
    assert legend(figure).get_title().get_text() == "12 of 30 curves"


def test_curves_that_are_the_same_are_drawn_and_named_once(monkeypatch, tmp_path):
    lr = {"a": [0.1, 0.2], "b": [0.3, 0.2], "c": [0.1, 0.2], "3": [0.1, 0.2]}
    figure = drawn(monkeypatch, tmp_path, lr=lr)
    assert [text.get_text() for text in legend(figure).get_texts()] == ["a (+ 2 alike)", "b"]


def test_the_same_learning_rate_with_another_momentum_is_another_curve(monkeypatch, tmp_path):
    momentum = {"a": [0.8, 0.9], "b": [0.9, 0.9]}
    figure = drawn(monkeypatch, tmp_path, lr={"a": [0.1, 0.2], "b": [0.1, 0.2]}, momentum=momentum)
    assert [text.get_text() for text in legend(figure).get_texts()] == ["a", "b"]


@pytest.mark.parametrize(("momentum", "panels"), [([0.9, 0.9], 1), ([0.9, 0.8], 2)])
def test_a_constant_momentum_takes_no_room(monkeypatch, tmp_path, momentum, panels):
    figure = drawn(monkeypatch, tmp_path, lr={"base": [0.1, 0.2]}, momentum={"base": momentum})
    assert len(figure.axes) == panels


def test_a_long_title_is_cut(monkeypatch, tmp_path):
    figure = drawn(monkeypatch, tmp_path, lr={"base": [0.1, 0.2]}, title="lr_schedule.warmup=linear " * 50)
    title = figure.axes[0].get_title(loc="left")
    assert len(title.splitlines()) == 3
    assert title.endswith("...")


def test_the_same_curves_give_the_same_file(tmp_path):
    for name in ("a.svg", "b.svg"):
        draw_lr_curve(tmp_path / name, lr={"base": [0.1, 0.2]}, iters_per_epoch=1, warmup_end=1)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_leaves_no_global_state(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw_lr_curve(tmp_path / "a.png", lr={"lr_0": [0.1, 0.1]}, iters_per_epoch=1)
    assert dict(matplotlib.rcParams) == before
