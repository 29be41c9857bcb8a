"""A file in the run directory ends the run in order."""

from __future__ import annotations

STOPS = "+hooks.stop_file._target_=hookline.hooks.stop_file.StopFileHook"


def test_the_run_ends_after_the_epoch_and_tells_the_reason(runner, tmp_path):
    one = runner(STOPS, "runner.max_iters=null", "runner.max_epochs=3", "data.batch_size=512")
    (tmp_path / "stop").write_text("pruned after epoch 1\nmore\n")
    one.run()
    assert (one.status, one.stop_reason, one.clock.epoch) == ("stopped", "pruned after epoch 1", 1)


def test_an_empty_file_ends_it_too_and_none_does_not(runner, tmp_path):
    one = runner(STOPS, "runner.max_iters=null", "runner.max_epochs=1", "data.batch_size=512")
    one.run()
    assert one.status == "completed"
    (tmp_path / "stop").touch()
    one = runner(STOPS, "runner.max_iters=null", "runner.max_epochs=2", "data.batch_size=512")
    one.run()
    assert one.status == "stopped"
    assert "file stop" in one.stop_reason
