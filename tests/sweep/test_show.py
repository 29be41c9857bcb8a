"""What is shown of a sweep while it runs."""

from __future__ import annotations

from hookline.sweep.show import Progress, counted, row_of, told_apart
from hookline.sweep.store import write_state


def test_endings_are_counted_in_the_reports_words(tmp_path):
    results = {
        "a": ("done", {"status": "completed"}),
        "b": ("done", {"status": "diverged"}),
        "c": ("done", {"status": "stopped", "reason": "pruned after epoch 1"}),
        "d": ("done", {"status": "stopped", "reason": "no better"}),
        "e": ("failed", None),
        "f": ("running", None),
    }
    states = {tmp_path / name: {"state": state, "result": result} for name, (state, result) in results.items()}
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "stop").write_text("pruned after epoch 1\n")
    assert counted(states) == "done 2, diverged 1, pruned 1, failed 1, left 1"
    assert counted({}) == "done 0, failed 0, left 0"


def test_names_of_jobs_can_be_told_apart_in_little_room():
    names = [
        f"lr_schedule=cosine,warmup=exp,warmup_iters={n}ep,warmup_ratio=0.01,seed={s}" for n in (1, 3) for s in (0, 1)
    ]
    short = told_apart(names, 30)
    assert short[0] == "warmup_iters=1ep,seed=0"
    assert len(set(short)) == 4
    assert told_apart(names, 100) == names
    cut = told_apart(["x" * 90 + "-1a2b3c", "x" * 90 + "-4d5e6f"], 20)
    assert [len(name) for name in cut] == [20, 20]
    assert cut[0].endswith("-1a2b3c")


def test_a_long_reason_leaves_the_logs_path_in_sight(tmp_path, capsys):
    reason = "no\nend: " + "x" * 200_000
    write_state(tmp_path, "failed", reason=reason)
    Progress([tmp_path], "val/top1", 1).ended(tmp_path, "failed", reason)
    told = capsys.readouterr().err
    assert told.startswith(f"error in job {tmp_path.name}: no end: xxx")
    assert told.endswith(f" ...; log: {tmp_path}/console.log\n")
    assert len(told) < 1000 + len(str(tmp_path))


def test_a_damaged_table_has_no_row(tmp_path):
    (tmp_path / "metrics.csv").write_bytes(b"\0" * 1_000_000)
    assert row_of(tmp_path) == {}
