"""A run in MLflow."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hookline.config.checks import check_number
from hookline.config.files import write_json
from hookline.config.flat import settings
from hookline.config.packages import need
from hookline.job import Job
from hookline.loggers.sink import Row, Sink, beside_samples

STORED = "mlflow.json"
SQLITE = "sqlite:///"

# What MLflow takes at once, and how long a parameter may be
# (https://mlflow.org/docs/latest/api_reference/rest-api.html#log-batch).
METRICS, PARAMS, LETTERS = 1000, 100, 6000

STATUSES = {"completed": "FINISHED", "stopped": "FINISHED", "interrupted": "KILLED"}

# A server that does not answer must not hold up the training for minutes; nothing is reported to MLflow's makers.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
# Seconds until the next try after one that failed.
PAUSE = 60.0


class MLflowSink(Sink):
    """Write a run into MLflow: numbers in batches, settings as parameters, pictures and texts as artifacts.

    MLflow keeps two points of one step as two. A run that goes on from a checkpoint asks for what is there, and writes
    only what lies beyond, number by number: what it repeats is equal to the last bit. Where a guard has turned a run
    back, MLflow keeps the points from before.

    Args:
        experiment: where the run appears; it is made if there is none of this name.
        name: the run's; None for the last two parts of its directory.
        tracking_uri: a server, or a database: `sqlite:///FILE`. None for what the environment variable
            `MLFLOW_TRACKING_URI` says, or else the file `outputs/mlflow.db`.
        tags: of the run, by name.
        flush_seconds: what is written reaches MLflow with the first sample that comes so long after the last batch, at
            each row of the history and with each checkpoint.
    """

    def __init__(
        self,
        experiment: str = "hookline",
        name: str | None = None,
        tracking_uri: str | None = None,
        tags: Mapping[str, str] | None = None,
        flush_seconds: float = 10.0,
    ) -> None:
        check_number("flush_seconds", flush_seconds, ge=0)
        need("logger=mlflow", "mlflow", "mlflow", "sqlalchemy", "alembic")
        self.experiment = experiment
        self.name = name
        self.tracking_uri = tracking_uri
        self.tags = dict(tags or {})
        self.flush_seconds = flush_seconds

    def open(self, job: Job, resumed: bool) -> None:
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        uri = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}outputs/mlflow.db"
        if uri.startswith(SQLITE):  # a relative path means another file in another working directory
            uri = SQLITE + str(Path(uri.removeprefix(SQLITE)).absolute())
        path = job.directory / STORED
        stored = json.loads(path.read_text()) if resumed and path.is_file() else {}
        uri = stored.get("tracking_uri", uri)
        self._buffer: list[Any] = []
        self._next_flush = time.monotonic() + self.flush_seconds
        with _alone(uri):
            self._client = _client(uri)
            experiment = None if stored else self._find_experiment(uri)
        # The last step that MLflow has of each number.
        self._known: dict[str, int] = {}
        if stored:
            self._id: str = stored["run_id"]
            self._client.update_run(self._id, status="RUNNING")
            self._read_back()
        else:
            self._id = self._client.create_run(experiment, run_name=self.name or job.label, tags=self.tags).info.run_id
            write_json(path, {"run_id": self._id, "tracking_uri": uri})
        self._describe(job)

    def write(self, numbers: Row, step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for name, value in numbers.items():
            if step > self._known.get(name, -1):
                self._known[name] = step
                self._buffer.append(Metric(name, value, now, step))
        if time.monotonic() >= self._next_flush:
            self.flush()

    def write_row(self, numbers: Row, step: int, history: Sequence[Row]) -> None:
        self.write(beside_samples(numbers), step)
        if time.monotonic() >= self._next_flush - self.flush_seconds:
            self.flush()

    def picture(self, name: str, path: Path, step: int) -> None:
        self._client.log_artifact(self._id, str(path), "pictures")

    def flush(self) -> None:
        try:
            while self._buffer:
                self._client.log_batch(self._id, metrics=self._buffer[:METRICS])
                del self._buffer[:METRICS]
        except Exception:
            self._next_flush = time.monotonic() + PAUSE + self.flush_seconds
            raise
        self._next_flush = time.monotonic() + self.flush_seconds

    def close(self, status: str) -> None:
        self.flush()
        self._client.set_terminated(self._id, STATUSES.get(status, "FAILED"))

    def state_dict(self) -> dict[str, Any]:
        """Write what there is: a run that goes on does not repeat it."""
        self.flush()
        return {}

    def resume(self, state: Mapping[str, Any], step: int, history: Sequence[Row]) -> None:
        dropped = [metric for metric in self._buffer if metric.step >= step]
        self._buffer = [metric for metric in self._buffer if metric.step < step]
        for metric in reversed(dropped):
            self._known[metric.key] = min(self._known[metric.key], metric.step - 1)

    def _find_experiment(self, uri: str) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        # MLflow would put the artifacts of a database into the working directory; a server knows its own place.
        beside = Path(uri.removeprefix(SQLITE)).with_suffix("") if uri.startswith(SQLITE) else None
        location = None if beside is None else (beside / self.experiment).as_uri()
        return str(self._client.create_experiment(self.experiment, artifact_location=location))

    def _read_back(self) -> None:
        for name in self._client.get_run(self._id).data.metrics:
            self._known[name] = max(metric.step for metric in self._client.get_metric_history(self._id, name))

    def _describe(self, job: Job) -> None:
        from mlflow.entities import Param, RunTag

        origin = job.origin
        there = self._client.get_run(self._id).data.params  # a parameter can be written once
        values = {name: str(value)[:LETTERS] for name, value in settings(job.config).items()}
        params = [Param(name, value) for name, value in values.items() if name not in there]
        tags = {"mlflow.source.name": origin.command[:LETTERS], "mlflow.source.git.commit": origin.git_commit or ""}
        self._client.log_batch(self._id, tags=[RunTag(name, value) for name, value in tags.items() if value])
        for start in range(0, len(params), PARAMS):
            self._client.log_batch(self._id, params=params[start : start + PARAMS])
        self._client.log_text(self._id, job.config, "config.yaml")
        self._client.log_text(self._id, json.dumps(origin.facts, indent=2), "origin.json")
        if origin.git_diff:
            self._client.log_text(self._id, origin.git_diff.encode(errors="replace").decode(), "git.diff")


def _client(uri: str) -> Any:
    from mlflow import MlflowClient

    # What it says of tables would break the progress bar.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let one process at a time make a database file and its tables: those of a sweep begin together."""
    if not uri.startswith(SQLITE):
        yield
        return
    import fcntl

    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
