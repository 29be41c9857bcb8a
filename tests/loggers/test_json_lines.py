"""JSON lines."""

from __future__ import annotations

import json
import math

from tests.loggers.broken_off import broken_off, run_of, timeless

from hookline.hooks import Hook
from hookline.loggers.json_lines import JSONLinesSink


def points(directory) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for line in (directory / "metrics.jsonl").read_text().splitlines():
        content = json.loads(line)
        for name in content if content["kind"] != "run" else ():
            if name not in ("kind", "step"):
                found.setdefault(f"{content['kind']} {name}", []).append((content["step"], content[name]))
    return found


def test_a_line_for_the_run_each_sample_and_each_row(tmp_path):
    run_of({"sink": JSONLinesSink()}, tmp_path).run()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines].count("sample") == 10
    assert lines[0]["config"]["optimizer.lr"] == 0.1
    assert lines[0]["origin"]["git_commit"] == "0123abc+changes"
    rows = [line for line in lines if line["kind"] == "row"]
    assert [(row["step"], row["epoch"], row["iterations"]) for row in rows] == [(4, 1, 5), (9, 2, 10)]
    assert all(row["val/top1"] >= 0 for row in rows)


def test_a_run_that_goes_on_repeats_no_line(tmp_path):
    run_of({"sink": JSONLinesSink()}, tmp_path / "whole").run()
    broken_off(JSONLinesSink, tmp_path / "broken")
    lines = (tmp_path / "broken" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines].count("run") == 1
    found = {n: p for n, p in points(tmp_path / "broken").items() if "time" not in n and "through" not in n}
    assert {n: p for n, p in found.items() if "memory" not in n} == {
        n: p for n, p in points(tmp_path / "whole").items() if n in found and "memory" not in n
    }
    assert timeless({"sample": found["sample train/loss"]})["sample"][-1][0] == 9


def test_what_is_no_number_is_null(tmp_path):
    class NotANumber(Hook):
        def after_train_epoch(self, runner):
            runner.log({"mine": math.nan})

    run_of({"sink": JSONLinesSink()}, tmp_path, NotANumber()).run()
    assert points(tmp_path)["row mine"] == [(4, None), (9, None)]
