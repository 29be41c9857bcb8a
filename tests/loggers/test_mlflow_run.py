"""MLflow with a database file: written, read back, and gone on with."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.loggers.broken_off import broken_off, run_of, timeless

from hookline.config.errors import ConfigError
from hookline.hooks import Hook
from hookline.loggers.mlflow_run import MLflowSink

pytest.importorskip("mlflow")
# One process makes the database for all of these, which takes seconds.
pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/runs.db"


def read(uri: str, name: str):
    """Return the only run of this name, its client, and its points by name."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("hookline")
    (run,) = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")
    points = {
        metric: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, metric)]
        for metric in run.data.metrics
    }
    return run, client, points


def test_runs_that_begin_together_share_a_new_database(tmp_path, uri):
    found: list[str] = []

    def begin(number: int) -> None:
        runner = run_of({"sink": MLflowSink(name=f"together {number}", tracking_uri=uri)}, tmp_path / str(number))
        runner.run()
        found.append(runner.status)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["completed", "completed"]
    assert [read(uri, f"together {number}")[0].info.status for number in range(2)] == ["FINISHED", "FINISHED"]


def test_numbers_settings_and_code_are_there(tmp_path, uri):
    run_of({"sink": MLflowSink(name="one", tracking_uri=uri, tags={"team": "a"})}, tmp_path).run()
    run, client, points = read(uri, "one")
    assert run.info.status == "FINISHED"
    assert sorted(step for step, _ in points["train/loss"]) == list(range(10))
    assert sorted(step for step, _ in points["val/top1"]) == [4, 9]
    assert run.data.params["optimizer.lr"] == "0.1"
    assert run.data.params["optimizer.betas"] == "[0.9, 0.99]"
    assert run.data.tags["team"] == "a"
    assert run.data.tags["mlflow.source.git.commit"] == "0123abc+changes"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"config.yaml", "git.diff", "origin.json"}
    assert not Path("mlruns").exists()


@pytest.mark.parametrize(("saved", "fails"), [(3, 7), (5, 6)])
def test_a_run_that_goes_on_is_the_same_run_and_has_no_point_twice(tmp_path, uri, saved, fails):
    whole, name = f"whole {saved}", f"broken {saved}"
    run_of({"sink": MLflowSink(name=whole, tracking_uri=uri)}, tmp_path / "whole").run()
    broken_off(lambda: MLflowSink(name=name, tracking_uri=uri), tmp_path / "broken", saved, fails)
    run, _, points = read(uri, name)
    assert run.info.status == "FINISHED"
    assert timeless(points) == timeless(read(uri, whole)[2])


def test_what_waits_is_written_anew_where_the_run_turns_back(tmp_path, uri):
    class TurnsBack(Hook):
        priority = 100
        kept = None

        def between_updates(self, runner):
            if runner.clock.iter == 2 and self.kept is None:
                self.kept = runner.state_dict()
                runner.rewind(self.kept)

    sink = MLflowSink(name="back", tracking_uri=uri, flush_seconds=1000)
    run_of({"sink": sink}, tmp_path, TurnsBack()).run()
    _, _, points = read(uri, "back")
    assert sorted(step for step, _ in points["train/loss"]) == list(range(10))


def test_without_the_packages_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr("hookline.config.packages.find_spec", lambda name: None if name == "alembic" else True)
    with pytest.raises(ConfigError, match=r"logger=mlflow: needs the package alembic; .* -e '\.\[mlflow\]'"):
        MLflowSink()
