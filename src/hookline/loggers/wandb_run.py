"""A run in Weights & Biases."""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hookline.config.checks import check_choice
from hookline.config.flat import settings
from hookline.config.packages import need
from hookline.job import Job
from hookline.loggers.sink import Row, Sink, beside_samples

PROGRESS = "wandb.json"
MODES = ("offline", "online")


class WandbSink(Sink):
    """Send a run to Weights & Biases, or keep it in the run's folder `wandb` for `wandb sync`.

    The run has an identifier for good, and all numbers of an iteration are sent at once, when those of a later one
    come. W&B can take back nothing, so the sink notes in `wandb.json` up to where it has sent, and a run that goes on
    from a checkpoint sends only what lies beyond: what it repeats is equal to the last bit. Where a guard has turned a
    run back, W&B keeps the points from before.

    Args:
        project: where the run appears.
        entity: the user or team; None for the one who is logged in.
        name: the run's; None for the last two parts of its directory.
        group: what it is listed with.
        tags: of the run.
        mode: `offline` keeps everything in the run directory; `online` sends as the run goes, which needs a login.
        id: the run's identifier; None for a random one, which stays the run's when it goes on.
    """

    def __init__(
        self,
        project: str = "hookline",
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        mode: str = "offline",
        id: str | None = None,
    ) -> None:
        check_choice("mode", mode, MODES)
        need("logger=wandb", "wandb", "wandb")
        self.mode = mode
        self.id = id
        self._about: dict[str, Any] = {
            "project": project,
            "entity": entity,
            "name": name,
            "group": group,
            "tags": list(tags),
        }

    def open(self, job: Job, resumed: bool) -> None:
        # Reports of its own errors to W&B are for those who ask for them.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        logging.getLogger("wandb").propagate = False  # it has a file of its own
        self._path = job.directory / PROGRESS
        stored = json.loads(self._path.read_text()) if resumed and self._path.is_file() else {}
        self._id: str = self.id or stored.get("id") or secrets.token_hex(4)
        self._sent: int = stored.get("sent", -1) if stored.get("id") == self._id else -1
        self._step = self._sent
        self._pending: dict[str, Any] = {}
        if self.mode == "online" and not wandb.login(timeout=30, verify=False):
            raise RuntimeError("nobody is logged in at W&B; run wandb login, or choose logger.wandb.mode=offline")
        about = {**self._about, "name": self._about["name"] or job.label}
        # Nothing of W&B's appears on the screen, where the progress bar is; of code the sink logs what hookline knows.
        quiet = wandb.Settings(
            silent=True, console="off", disable_code=True, disable_git=True, x_save_requirements=False
        )
        self._run = wandb.init(
            **about,
            id=self._id,
            resume="allow",
            mode=self.mode,  # type: ignore[arg-type]
            dir=str(job.directory),
            config={**settings(job.config), "origin": job.origin.facts},
            settings=quiet,
            reinit="create_new",
            allow_val_change=True,
        )
        folder = Path(self._run.dir)
        (folder / "run_config.yaml").write_text(job.config)
        if job.origin.git_diff:
            (folder / "git.diff").write_text(job.origin.git_diff, errors="surrogateescape")
        self._note()

    def write(self, numbers: Row, step: int) -> None:
        self._add(numbers, step)

    def write_row(self, numbers: Row, step: int, history: Sequence[Row]) -> None:
        self._add(beside_samples(numbers), step)

    def picture(self, name: str, path: Path, step: int) -> None:
        self._add({name: ["picture", str(path)]}, step)

    def histogram(self, name: str, counts: Sequence[float], edges: Sequence[float], step: int) -> None:
        self._add({name: ["histogram", list(counts), list(edges)]}, step)

    def close(self, status: str) -> None:
        # What belongs to the last iteration may not be complete where the run goes on: the checkpoint has it.
        if status != "interrupted":
            self._send()
        self._run.finish(exit_code=0 if status in ("completed", "stopped", "interrupted") else 1)

    def state_dict(self) -> dict[str, Any]:
        """Return what is to be sent of the last iteration."""
        return {"step": self._step, "pending": dict(self._pending)}

    def resume(self, state: Mapping[str, Any], step: int, history: Sequence[Row]) -> None:
        self._step, self._pending = self._sent, {}
        self._add(state.get("pending", {}), state.get("step", -1))

    def _add(self, numbers: Mapping[str, Any], step: int) -> None:
        if step <= self._sent or not numbers:
            return
        if step > self._step:
            self._send()
        self._step = step
        self._pending |= numbers

    def _send(self) -> None:
        if not self._pending:
            return
        pending, self._pending = self._pending, {}
        self._sent = self._step
        self._run.log({name: _shown(value) for name, value in pending.items()}, step=self._step, commit=True)
        self._note()

    def _note(self) -> None:
        # One short write into the place of the last: a run that is killed leaves the old content or the new one.
        content = json.dumps({"id": self._id, "sent": self._sent}).ljust(128) + "\n"
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(file, content.encode(), 0)
        finally:
            os.close(file)


def _shown(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    import wandb

    if value[0] == "picture":
        return wandb.Image(value[1])
    return wandb.Histogram(np_histogram=(value[1], value[2]))
