"""The report's text and files."""

from __future__ import annotations

import csv
import json
import re
import urllib.parse

import pytest
from tests.sweep.sweeps import write_grid, write_job

from hookline.commands.report import main
from hookline.sweep.jobs import read_sweep
from hookline.sweep.report import make_report, text, write_report

GRID = {("linear", 1): [90.0, 91.0, 92.5], ("exp", 1): [88.0, 90.5, 89.0], ("exp", 2): [80.0, 81.0, 83.0]}


def written(folder):
    """Write the report on a folder and return the page's data."""
    page, *_ = write_report(make_report([read_sweep(folder)]), folder)
    return data_of(page)


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())[1])


@pytest.fixture
def report(capsys, monkeypatch):
    """Return a function that runs the command and returns its exit status and what it printed."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments):
        status = 0
        try:
            main("about", [str(argument) for argument in arguments])
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        return status, *capsys.readouterr()

    return run


def test_the_terminal_shows_the_points_best_first(tmp_path, report):
    status, out, _ = report(write_grid(tmp_path / "näme", GRID))
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "näme: 9 jobs: 9 done"
    head = next(n for n, line in enumerate(lines) if line.split()[:2] == ["mean", "±95"])
    assert lines[head].split()[-2:] == ["warmup", "lr"]
    assert [line.split()[0] for line in lines[head + 1 : head + 4]] == ["91.17", "89.17", "81.33"]
    assert lines[head + 1].split()[-2:] == ["linear", "1"]
    assert all(len(line) <= 80 for line in lines[: head + 4])
    assert re.search(r"warmup \d+%.*chance \d+%", out)


def test_the_tables_have_every_job_and_point(tmp_path, report):
    folder = write_grid(tmp_path / "sweep", GRID)
    report(folder, "--out", tmp_path / "out")
    with (tmp_path / "out" / "report_jobs.csv").open(newline="") as file:
        jobs = list(csv.DictReader(file))
    assert [float(job["val/top1"]) for job in jobs] == sorted(
        [s for scores in GRID.values() for s in scores], reverse=True
    )
    assert jobs[0]["lr_schedule.warmup"] == "linear"
    assert jobs[0]["seed"] == "2"
    assert (tmp_path / "out" / jobs[0]["directory"] / "result.json").is_file()
    with (tmp_path / "out" / "report_points.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    assert [float(point["mean"]) for point in points] == pytest.approx([91.1667, 89.1667, 81.3333], rel=1e-4)
    assert points[0]["difference to the best"] == ""
    assert float(points[1]["difference to the best"]) == pytest.approx(-2)
    assert float(points[1]["95 % low"]) < 89 < float(points[1]["95 % high"])


def test_every_state_is_shown_as_such(tmp_path, report):
    lr = "optimizer.lr"
    write_job(tmp_path / "s" / "0", {lr: 1}, [90.0])
    write_job(tmp_path / "s" / "1", {lr: 1}, [10.0], seed=1, status="diverged", reason="the loss is nan")
    write_job(tmp_path / "s" / "2", {lr: 2}, status="failed", reason="RuntimeError: out of memory")
    write_job(tmp_path / "s" / "3", {lr: 3}, [50.0], status="running")
    write_job(tmp_path / "s" / "4", {lr: 4}, status="")
    write_job(tmp_path / "s" / "5", {lr: 5}, [1.0], status="interrupted")
    write_job(tmp_path / "s" / "6", {lr: 6}, [1.0], monitor="val/loss")
    status, out, _ = report(tmp_path / "s")
    assert status == 0
    states = ["done", "diverged", "failed", "interrupted", "running", "waiting", "no metric"]
    assert out.splitlines()[0] == "s: 7 jobs: " + ", ".join(f"1 {state}" for state in states)
    assert "failed: 2: RuntimeError: out of memory" in out
    assert "diverged: 1: the loss is nan" in out
    data = data_of(tmp_path / "s" / "report.html")
    assert {job["name"]: job["state"] for job in data["jobs"]} == dict(
        zip("0123456", ["done", "diverged", "failed", "running", "waiting", "interrupted", "no metric"], strict=True)
    )
    # One seed is run at this point alone, and so is missing at the others.
    assert [point["missing"] for point in data["points"]] == [[], *[["1"]] * 5]


@pytest.mark.parametrize(
    "jobs",
    [
        [({}, [90.0], 0, "completed")],
        [({}, [], 0, "running")],
        [({}, [], 0, "failed"), ({}, [], 1, "failed")],
        [({"optimizer.lr": 1}, [90.0], 0, "completed"), ({"optimizer.lr": 2}, [91.0], 0, "completed")],
        [({}, [0.0], 0, "completed"), ({}, [0.0], 1, "completed")],
    ],
    ids=["one job", "one that runs", "all failed", "one seed", "all zero"],
)
def test_a_report_is_made_of_little(tmp_path, report, jobs):
    for number, (overrides, scores, seed, status) in enumerate(jobs):
        write_job(tmp_path / "s" / str(number), overrides, scores, seed=seed, status=status)
    status, out, err = report(tmp_path / "s")
    assert (status, err) == (0, "")
    assert f"{len(jobs)} job" in out
    assert len(data_of(tmp_path / "s" / "report.html")["jobs"]) == len(jobs)


def test_what_stands_in_overrides_is_no_markup(tmp_path):
    evil = "</script><script>alert(1)</script>&amp;<b>ü日本</b>"
    write_job(tmp_path / "<i>s" / "a&b <c>", {"model.name": evil}, [1.0])
    write_job(tmp_path / "<i>s" / "1", {"model.name": "plain"}, [2.0])
    data = written(tmp_path / "<i>s")
    assert data["points"][1]["values"] == [evil]
    text = (tmp_path / "<i>s" / "report.html").read_text()
    assert "alert(1)</script>" not in text
    assert "<i>s" not in text
    links = {job["name"]: urllib.parse.unquote(job["link"]) for job in data["jobs"]}
    assert links == {"a&b <c>": "./a&b <c>/", "1": "./1/"}


def test_the_page_needs_no_other_file_and_keeps_the_licence(tmp_path):
    written(write_grid(tmp_path, GRID))
    text = (tmp_path / "report.html").read_text()
    assert not re.search(r"<(link|script|img)[^>]*(src|href)=(?!['\"]?data:)", text)
    assert "default-src 'none'" in text
    assert "Permission is hereby granted, free of charge" in text
    assert "Leon Sorokin" in text


def test_long_curves_are_thinned_and_keep_their_peaks(tmp_path):
    scores = [float(n % 50) for n in range(20_000)]
    scores[12_345] = 99.0
    for seed in (0, 1):
        write_job(tmp_path / str(seed), {}, scores, seed=seed)
    curves = written(tmp_path)["curves"]
    (curve,) = curves["val/top1"]
    assert len(curve["x"]) <= 400
    assert max(curve["high"]) == 99.0
    assert (curve["x"][0], curve["x"][-1]) == (1, 20_000)
    assert len((tmp_path / "report.html").read_text()) < 200_000


def test_curves_are_means_with_bands_against_the_epoch(tmp_path):
    write_job(tmp_path / "0", {}, [1.0, 2.0, 3.0], seed=0)
    write_job(tmp_path / "1", {}, [3.0, 2.0], seed=1, status="interrupted")
    curves = written(tmp_path)["curves"]
    (curve,) = curves["val/top1"]
    assert curve == {"x": [1, 2, 3], "mean": [2, 2, 3], "low": [1, 2, 3], "high": [3, 2, 3]}
    (rate,) = curves["learning rate"]
    assert (rate["x"][:2], rate["mean"][:2]) == ([0, 1], [0, 0.1])


def test_another_number_and_another_epoch(tmp_path, report):
    folder = write_grid(tmp_path / "s", GRID)
    status, out, _ = report(folder, "--monitor", "val/loss", "--when", "final")
    assert status == 0
    assert "val/loss, lower is better, final epoch" in out
    best = data_of(folder / "report.html")["points"][0]
    assert best["values"] == ["linear", "1"]
    assert best["score"]["mean"] == pytest.approx(1 - 91.1667 / 100, rel=1e-3)


def test_several_sweeps_are_one_table(tmp_path, report):
    first = write_grid(tmp_path / "first", {("linear", 1): [90.0, 91.0]})
    second = write_grid(tmp_path / "second", {("linear", 1): [92.0, 93.0], ("exp", 1): [80.0, 82.0]})
    status, out, _ = report(first, second)
    assert status == 0
    assert out.startswith("first, second: 6 jobs: 6 done")
    data = data_of(first / "report.html")
    assert [parameter["key"] for parameter in data["parameters"]] == ["sweep", "lr_schedule.warmup"]
    assert [point["values"] for point in data["points"]] == [
        ["second", "linear"],
        ["first", "linear"],
        ["second", "exp"],
    ]
    assert {job["link"] for job in data["jobs"]} >= {"./0/", "./../second/0/"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: there is no such sweep directory"),
        (["."], ".: is no sweep"),
        (["s", "--monitor", "val/nope"], "--monitor=val/nope: no job has this number. There is: val/top1, val/loss"),
        (["s", "--monitor", "throughput"], "--monitor=throughput: "),
    ],
)
def test_a_mistake_ends_in_one_line(tmp_path, report, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_grid(tmp_path / "s", {("linear", 1): [90.0]})
    status, out, err = report(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert len(err.splitlines()) == 1


def test_shares_are_the_same_everywhere_and_add_up_to_a_hundred(tmp_path, report):
    # All the difference is between seeds, so that the model explains less than nothing.
    folder = write_grid(tmp_path / "s", {("a", 1): [90.0, 80.0], ("b", 1): [80.0, 90.0], ("c", 2): [85.0, 85.5]})
    _, out, _ = report(folder)
    told = next(line for line in out.splitlines() if line.startswith("what the differences go with: "))
    shares = re.findall(r"(\w[\w ]*) (\d+)%", told.partition(": ")[2])
    assert sum(int(share) for _, share in shares) == 100
    with (folder / "report_shares.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["what", "share, %"], *map(list, shares)]
    assert [[share["what"], str(share["percent"])] for share in data_of(folder / "report.html")["shares"]] == list(
        map(list, shares)
    )


def test_small_p_values_are_no_zeros(tmp_path, report):
    folder = write_grid(tmp_path / "s", {("a", 1): [90.0, 90.1, 90.2], ("b", 1): [10.0, 10.3, 10.1]})
    assert "<0.001" in report(folder)[1]


def test_a_narrow_terminal_shows_all_parameters_and_a_file_has_whole_lines(tmp_path):
    keys = [f"hooks.some_hook.parameter_{n}" for n in range(6)]
    for number in range(2):
        write_job(tmp_path / "s" / str(number), dict.fromkeys(keys, number), [90.0 - number])
    made = make_report([read_sweep(tmp_path / "s")])
    narrow = text(made, 80).splitlines()
    assert max(map(len, narrow[:-1])) <= 80
    for number in range(6):
        assert f"parameter_{number}=0" in "".join(narrow)
    wide = text(made)
    assert re.search(r"^ *90 .*( 0\b){6}", re.sub(" +", " ", wide), re.MULTILINE)
    assert "…" not in wide


def test_equal_reasons_are_told_once(tmp_path, report):
    for number in range(8):
        write_job(tmp_path / "s" / f"j{number}", {"optimizer.lr": number}, status="failed", reason="out of memory")
    write_job(tmp_path / "s" / "j8", {"optimizer.lr": 8}, status="diverged", reason="the loss is not finite")
    _, out, _ = report(tmp_path / "s")
    assert "failed: 8 jobs (j0 and 7 more): out of memory" in out
    assert out.count("out of memory") == 1
    assert "jobs that diverged, by what they have: lr=8 1 of 1" in out


def test_pruned_runs_stand_in_the_table_and_nowhere_else(tmp_path, report):
    for number, (lr, score) in enumerate([(1, 80.0), (2, 99.0), (3, 70.0)]):
        pruned = {"status": "stopped", "reason": "pruned after epoch 1"} if lr == 2 else {}
        write_job(tmp_path / "s" / str(number), {"optimizer.lr": lr}, [score], **pruned)
    (tmp_path / "s" / "1" / "stop").write_text("pruned after epoch 1\n")
    _, out, _ = report(tmp_path / "s")
    assert out.startswith("s: 3 jobs: 2 done, 1 pruned")
    data = data_of(tmp_path / "s" / "report.html")
    assert [point["values"] for point in data["points"]] == [["1"], ["3"], ["2"]]
    assert [job["state"] for job in data["jobs"]] == ["done", "done", "pruned"]
    assert [value["value"] for value in data["effects"][0]["values"]] == ["1", "3"]
