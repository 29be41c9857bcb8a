"""What a terminal shows of a run fits into its width, and the most important numbers are there."""

from __future__ import annotations

import io
import logging
import sys

import pytest
import torch
from tests.toy import toy_model, toy_runner

from hookline.hooks.ema import EMAHook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.text import TextHook
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.loggers.console import ConsoleHandler, fitted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch):
    """Return a function that runs a training on a terminal of this width, and returns its stdout and stderr."""
    handler, logger = ConsoleHandler(logging.INFO), logging.getLogger("hookline")
    level = logger.level
    logger.setLevel(logging.INFO)
    monkeypatch.setattr(logger, "propagate", False)  # a command that ran before may have left its own handler
    logger.addHandler(handler)

    def run(columns: int, *hooks, terminal=Terminal, interval=2, **options) -> tuple[str, str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        out, err = terminal(), terminal()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        text = TextHook(interval, refresh=1e-9)
        toy_runner(TrainMetricsHook(), EvaluationHook(), *hooks, text, max_epochs=150, samples=4, **options).run()
        return out.getvalue(), err.getvalue()

    yield run
    logger.removeHandler(handler)
    logger.setLevel(level)


ALL = ["lr ", "train/loss ", "val/loss ", "val/top1 ", "val/top5 ", " images/s", " s", "waiting for data "]


@pytest.mark.parametrize("columns", [60, 80, 100, 120])
def test_epoch_lines_and_bar_fit(screen, columns):
    out, err = screen(columns, EMAHook())
    lines = out.splitlines()
    assert len(lines) == 150
    assert max(map(len, lines)) <= columns
    assert all("val/top1 " in line for line in lines)
    assert any(line.endswith("  (best)") for line in lines)
    frames = [frame for frame in err.split("\r") if "|" in frame]
    assert max(map(len, frames)) < columns
    assert all("eta " in frame and "loss " in frame for frame in frames[1:])


def test_a_wide_terminal_shows_everything(screen):
    out, err = screen(160)
    line = out.splitlines()[0]
    assert all(part in line for part in ALL)
    frames = [frame for frame in err.split("\r") if "eta " in frame]
    assert all(part in frames[0] for part in ("epoch ", "iter ", "loss ", "lr ", " images/s"))


def test_off_a_terminal_no_width_matters(screen):
    out, err = screen(40, terminal=io.StringIO, interval=1000)
    assert all(part in out.splitlines()[0] for part in ALL)
    assert err == ""


def test_the_monitored_number_is_always_shown(screen):
    out, _ = screen(50, monitor="val/top5")
    assert all("val/top5 " in line for line in out.splitlines() if line.startswith("epoch"))


def test_the_line_is_empty_when_the_run_has_ended(screen):
    _, err = screen(80)
    assert err.endswith("\r\x1b[K")  # what Ctrl-C left behind the bar included


def test_parts_are_left_out_by_importance():
    parts = [(2, "aaaa"), (0, "bbbb"), (1, "cccc")]
    assert fitted(parts) == "aaaa  bbbb  cccc"
    assert fitted(parts, 16) == "aaaa  bbbb  cccc"
    assert fitted(parts, 15) == "aaaa  cccc"
    assert fitted(parts, 3) == "aaaa"


@pytest.mark.parametrize(("names", "shown"), [(["head", "base"], 0.01), (["layer_0", "head"], 0.1)])
def test_the_learning_rate_is_the_base_group_s(names, shown):
    model = toy_model()
    rates = {"base": 0.01, "head": 0.1, "layer_0": 0.001}
    weight, bias = model.parameters()
    groups = [{"params": [p], "lr": rates[name], "name": name} for p, name in zip((weight, bias), names, strict=True)]
    runner = toy_runner(TrainMetricsHook(), model=model, optimizer=torch.optim.SGD(groups, lr=0.5), max_epochs=1)
    runner.run()
    assert runner.history[-1]["lr"] == shown
