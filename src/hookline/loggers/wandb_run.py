"""A run in Weights & Biases."""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hookline.config.checks import check_choice
from hookline.config.files import write_json
from hookline.config.flat import settings
from hookline.config.packages import need
from hookline.job import Job
from hookline.loggers.sink import Row, Sink, beside_samples
from hookline.loggers.wandb_file import last_step

STORED = "wandb.json"
MODES = ("offline", "online")

# How often W&B's process writes what it has got to the disk; by its own measure it would be 15 seconds.
FLUSH_SECONDS = 1.0
# Iterations whose numbers a checkpoint holds.
NEWEST = 1000


class WandbSink(Sink):
    """Send a run to Weights & Biases, or keep it in the run's folder `wandb` for `wandb sync`.

    The run has an identifier for good, and all numbers of an iteration are sent at once, when those of a later one
    come. W&B can take back nothing, so a run that goes on from a checkpoint asks up to where W&B has it, and sends only
    what lies beyond: what it repeats is equal to the last bit. W&B writes in a process of its own, and what that has
    not written is lost where a run is killed; so a checkpoint holds the newest numbers that were sent before it. Where
    a guard has turned a run back, W&B keeps the points from before.

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
        self._path = job.directory / STORED
        stored = json.loads(self._path.read_text()) if resumed and self._path.is_file() else {}
        self._id: str = self.id or stored.get("id") or secrets.token_hex(4)
        # W&B's process may still be writing what a run that ended by itself has sent.
        written = stored.get("sent", last_step(job.directory / "wandb", self._id))
        self._sent: int = written if stored.get("id") == self._id else -1
        self._pending: dict[str, Any] = {}
        self._newest: deque[tuple[int, dict[str, Any]]] = deque(maxlen=NEWEST)
        if self.mode == "online" and not wandb.login(timeout=30, verify=False):
            raise RuntimeError("nobody is logged in at W&B; run wandb login, or choose logger.wandb.mode=offline")
        about = {**self._about, "name": self._about["name"] or job.label}
        # Nothing of W&B's appears on the screen, where the progress bar is; of code the sink logs what hookline knows.
        quiet = wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            x_save_requirements=False,
            x_transaction_log_flush_interval=FLUSH_SECONDS,
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
        if self.mode == "online" and self._run.resumed:
            self._sent = self._run.starting_step - 1
        self._step = self._sent
        folder = Path(self._run.dir)
        (folder / "run_config.yaml").write_text(job.config)
        if job.origin.git_diff:
            (folder / "git.diff").write_text(job.origin.git_diff, errors="surrogateescape")
        write_json(self._path, {"id": self._id})

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
        write_json(self._path, {"id": self._id, "sent": self._sent})
        self._run.finish(exit_code=0 if status in ("completed", "stopped", "interrupted") else 1)

    def state_dict(self) -> dict[str, Any]:
        """Return the newest numbers that were sent, and what is to be sent of the last iteration."""
        return {"step": self._step, "pending": dict(self._pending), "newest": list(self._newest)}

    def resume(self, state: Mapping[str, Any], step: int, history: Sequence[Row]) -> None:
        self._step, self._pending = self._sent, {}
        for sent_step, numbers in state.get("newest", []):
            self._add(numbers, sent_step)
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
        self._newest.append((self._step, pending))
        self._run.log({name: _shown(value) for name, value in pending.items()}, step=self._step, commit=True)


def _shown(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    import wandb

    if value[0] == "picture":
        return wandb.Image(value[1])
    return wandb.Histogram(np_histogram=(value[1], value[2]))
