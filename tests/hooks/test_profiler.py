"""The profiler, and how it is added."""

from __future__ import annotations

import gzip
import json

import pytest
from tests.toy import toy_runner

from hookline.hooks.profiler import ProfilerHook
from hookline.job import Job


def test_a_trace_and_a_table(tmp_path, caplog):
    caplog.set_level("INFO", "hookline")
    toy_runner(ProfilerHook(wait=2, warmup=1, active=3), job=Job(tmp_path)).run()
    trace = gzip.decompress((tmp_path / "profile" / "trace.json.gz").read_bytes())
    events = json.loads(trace)["traceEvents"]
    names = [event.get("name", "") for event in events]
    assert "aten::linear" in names
    assert sum(name.startswith("ProfilerStep#") for name in names) == 3
    written = (tmp_path / "profile" / "operators.txt").read_text()
    assert "aten::addmm" in written
    (table,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("slowest operators of 3 iter")]
    assert max(map(len, table.splitlines())) <= 80
    assert len(table.splitlines()) == 12
    share, _, *_, name = table.splitlines()[2].split()
    row = next(line.split() for line in written.splitlines() if line.split()[:1] == [name])
    assert float(row[1].rstrip("%")) == pytest.approx(float(share), abs=0.06)  # Self CPU %


def test_a_run_that_ends_meanwhile_has_a_trace_of_what_was_there(tmp_path):
    toy_runner(ProfilerHook(wait=2, warmup=1, active=100), job=Job(tmp_path)).run()
    assert (tmp_path / "profile" / "trace.json.gz").is_file()


def test_a_run_that_is_too_short_says_so(tmp_path, caplog):
    toy_runner(ProfilerHook(wait=20), job=Job(tmp_path)).run()
    assert "hooks.profiler: the run had 10 iterations, and profiling begins after 22" in caplog.text


def test_it_is_added_to_the_options_that_are_chosen(train):
    shown = train("+hooks=profiler", "hooks=ema", "--cfg", "job", "-p", "hooks")
    assert shown.status == 0, shown.err
    assert {"schedule:", "ema:", "profiler:"} <= set(shown.out.splitlines())
    shown = train("+logger=json_lines", "--cfg", "job", "-p", "logger")
    assert {"tensorboard:", "csv:", "json_lines:"} <= set(shown.out.splitlines())


def test_wrong_names_and_sweeps(train):
    wrong = train("+hooks=profilr")
    assert wrong.status == 2
    assert "Did you mean 'profiler'?" in wrong.out + wrong.err
    swept = train("-m", "hooks=default,ema", "+hooks=profiler")
    assert swept.status == 2
    assert "cannot be added to several values" in swept.out + swept.err
