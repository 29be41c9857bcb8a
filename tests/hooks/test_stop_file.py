"""A file in the run directory ends the run in order."""

from __future__ import annotations

import pytest
from tests.toy import toy_runner

from hookline.hooks.stop_file import StopFileHook
from hookline.job import Job


@pytest.mark.parametrize(
    ("content", "reason"),
    [("pruned after epoch 1\nmore\n", "pruned after epoch 1"), ("", "there is a file stop in the run directory")],
)
def test_the_run_ends_after_the_epoch_and_tells_the_reason(tmp_path, content, reason):
    runner = toy_runner(StopFileHook(), max_epochs=3, job=Job(tmp_path))
    (tmp_path / "stop").write_text(content)
    runner.run()
    assert (runner.status, runner.stop_reason, runner.clock.epoch) == ("stopped", reason, 1)


def test_without_the_file_it_comes_to_its_end(tmp_path):
    runner = toy_runner(StopFileHook(), max_epochs=2, job=Job(tmp_path))
    runner.run()
    assert (runner.status, runner.clock.epoch) == ("completed", 2)
