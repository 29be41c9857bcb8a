"""One launch of a sweep: which jobs run when, and what becomes of them."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from hookline.config.errors import reason_of
from hookline.sweep.jobs import read_state, read_stored_state
from hookline.sweep.lock import LOCK_FILE, PATIENCE, is_held, take
from hookline.sweep.pool import Ended, Pool, ServerLost
from hookline.sweep.slots import Slot, claim_several, joined
from hookline.sweep.store import write_state

# The exit status of a process that found its job run by another one, and how often that is believed while nobody is
# seen to hold the lock: one who had it may have ended meanwhile, but code of a user's may leave with any status, too.
BUSY = 75
MOST_BUSY = 3

# Seconds between two looks at what other launches do, and for what is shown.
INTERVAL = 0.5

# Seconds that jobs have to save their states when the launch is interrupted or a job has run too long.
PATIENCE_AT_END = 30.0
PATIENCE_WITH_LATE = 5.0

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Watcher(Protocol):
    """What is told of a launch while it runs."""

    def began(self, job: Path, slot: Slot) -> None: ...
    def ended(self, job: Path, state: str, reason: str | None) -> None: ...
    def look(self, running: Sequence[Path], elsewhere: Sequence[Path], waiting: int) -> None: ...


@dataclass
class Running:
    """A job that this launch has started."""

    job: Path
    slots: list[Slot]
    began: float
    progress: str
    before: Mapping[str, Any]  # its state
    asked: float | None = None  # when it was asked to end
    late: bool = False


@dataclass
class Launch:
    """Runs jobs in slots until all have ended, here or in another launch.

    Args:
        jobs: the directories of the jobs that are to run; those among them that have failed are run again.
        slots: the places for one process each.
        make_pool: gives a pool; called again where the fork server was killed.
        watcher: is told what happens.
        job_timeout: seconds after which a job is ended and has failed.
        max_failures: failed jobs after which no further one begins.
        more: gives a further job where a slot is free and none waits, None where there is none.
        width: says how many processes a job has, each of which takes a slot.
    """

    jobs: Sequence[Path]
    slots: Sequence[Slot]
    make_pool: Callable[[], Pool]
    watcher: Watcher
    job_timeout: float | None = None
    max_failures: int | None = None
    more: Callable[[], Path | None] = lambda: None
    width: Callable[[Path], int] = lambda job: 1
    failed: int = field(default=0, init=False)
    signal: int | None = field(default=None, init=False)

    def run(self) -> None:
        """Run the jobs. After a signal they are asked to end, and `signal` says which it was."""
        self._waiting = deque(self.jobs)
        self._retry = set(self.jobs)
        self._running: dict[int, Running] = {}
        self._elsewhere: set[Path] = set()
        self._busy = Counter[Path]()
        self._pool = self.make_pool()
        with self._signals() as wake:
            try:
                while self._running or (self.signal is None and (self._elsewhere or self._may_start())):
                    self._step(wake)
                    self.watcher.look(
                        [one.job for one in self._running.values()], sorted(self._elsewhere), len(self._waiting)
                    )
            finally:
                for pid in self._running:  # only after an error of this program
                    self._pool.kill(pid)

    def _may_start(self) -> bool:
        enough = self.max_failures is not None and self.failed >= self.max_failures
        if enough or self.signal is not None:
            return False
        if not self._waiting and (job := self.more()) is not None:
            self._waiting.append(job)
        return bool(self._waiting)

    def _step(self, wake: int) -> None:
        try:
            self._start()
            ended = self._pool.wait(INTERVAL, wake)
        except ServerLost:
            self._start_anew()
            return
        self._drain(wake)
        for one in ended:
            self._take_note(one)
        self._end_late()
        self._look_elsewhere()

    def _start(self) -> None:
        """Start waiting jobs in free slots, once the server has imported what they need."""
        if not self._pool.ready:
            return
        while not all(slot.busy for slot in self.slots) and self._may_start():
            job = self._waiting.popleft()
            if self._settled(job):
                continue
            if is_held(job / LOCK_FILE):
                self._elsewhere.add(job)
                continue
            slots, locks = claim_several(self.slots, self.width(job))
            if not slots:  # other jobs have them, or another sweep has the device
                self._waiting.appendleft(job)
                return
            try:
                progress, before = progress_of(job), read_stored_state(job)
                pid = self._pool.start(job, locks, joined(slots).environment)
            except ServerLost:
                self._waiting.appendleft(job)
                raise
            finally:
                for lock in locks:
                    os.close(lock)
            for slot in slots:
                slot.busy = True
            self._running[pid] = Running(job, slots, time.monotonic(), progress, before)
            self.watcher.began(job, joined(slots))

    def _settled(self, job: Path) -> bool:
        """Say whether a job needs no process of this launch any more, and tell of what has become of it elsewhere."""
        state = read_state(job)
        if state["state"] == "done" or (state["state"] == "failed" and job not in self._retry):
            self._tell(job, state["state"], state.get("reason"))
            return True
        self._retry.discard(job)
        return False

    def _tell(self, job: Path, state: str, reason: str | None) -> None:
        self.failed += state == "failed"
        self.watcher.ended(job, state, reason)

    def _take_note(self, ended: Ended) -> None:
        """Settle what a job's process has left: its state, or the reason why it could write none."""
        if (one := self._running.pop(ended.pid, None)) is None:
            return
        self._free(one)
        if ended.status == BUSY:
            self._busy[one.job] += not is_held(one.job / LOCK_FILE)
            if self._busy[one.job] < MOST_BUSY:
                self._elsewhere.add(one.job)
                return
        if ended.lost and self.signal is None and not one.late:
            self.watcher.ended(one.job, "interrupted", "its machine was lost")
            self._waiting.append(one.job)
            return
        state, reason = self._last_state(one, ended.status)
        if state == "interrupted" and self.signal is None and ended.status == -signal.SIGKILL:
            self._waiting.appendleft(one.job)
            return
        self._tell(one.job, state, reason)

    @staticmethod
    def _free(one: Running) -> None:
        for slot in one.slots:
            slot.busy = False

    def _last_state(self, one: Running, status: int) -> tuple[str, str | None]:
        """Return state and reason of a job whose process has ended, and write them where that could not.

        Where nothing can be written, as on a full disk, the job has failed in this launch, and the next one runs it.
        """
        try:
            found = read_stored_state(one.job)
            state, reason = self._judged(one, status, found)
            if (state, reason) != (found["state"], found.get("reason")):
                self._write(one.job, status, found, state, reason)
        except OSError as error:
            return "failed", f"its state cannot be kept: {reason_of(error)}"
        return state, reason

    def _judged(self, one: Running, status: int, found: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return state and reason by what was written last and the exit status."""
        state, reason = found["state"], found.get("reason")
        if one.late and state != "done":
            state, reason = "failed", f"ran longer than launcher.job_timeout={self.job_timeout:g} seconds"
        elif state in ("running", "waiting") or (state != "done" and found == one.before):
            state, reason = "failed", told_status(status)
            if self.signal is not None or (status == -signal.SIGKILL and progress_of(one.job) > one.progress):
                state = "interrupted"
        return state, reason

    @staticmethod
    def _write(job: Path, status: int, found: Mapping[str, Any], state: str, reason: str | None) -> None:
        lock = take(job / LOCK_FILE, PATIENCE)
        if lock is None:  # another launch has gone on with it already
            return
        try:
            more = {key: found[key] for key in ("attempts", "started", "seconds") if key in found}
            write_state(job, state, **more, reason=reason, exit_status=status)
        finally:
            os.close(lock)

    def _end_late(self) -> None:
        """Ask jobs to end whose time is over or whose launch is, and kill those that do not."""
        now = time.monotonic()
        for pid, one in self._running.items():
            if self.job_timeout is not None and now - one.began > self.job_timeout and not one.late:
                one.late, one.asked = True, now
                self._pool.ask_to_end(pid)
            elif one.asked is not None:
                patience = PATIENCE_WITH_LATE if one.late else PATIENCE_AT_END
                if now - one.asked > patience:
                    self._pool.kill(pid)

    def _look_elsewhere(self) -> None:
        """Take over jobs of other launches that were killed, and tell of those that have ended there."""
        for job in sorted(self._elsewhere):
            if not is_held(job / LOCK_FILE):
                self._elsewhere.remove(job)
                self._waiting.append(job)

    def _start_anew(self) -> None:
        """Begin again with a new fork server, once the jobs of the one that was killed have ended with it."""
        self._pool.close()
        self._pool = self.make_pool()
        for one in self._running.values():
            self._free(one)
            self._elsewhere.add(one.job)
        self._running.clear()

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """Note signals instead of dying of them, and give a descriptor that can be read when one has come."""
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)

        def note(number: int, frame: FrameType | None) -> None:
            again, self.signal = self.signal is not None, number
            for pid, one in self._running.items():
                if again:
                    self._pool.kill(pid)
                else:
                    one.asked = time.monotonic()
                    self._pool.ask_to_end(pid)

        before = {number: signal.signal(number, note) for number in SIGNALS}
        old = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        try:
            yield woken
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(woken)
            os.close(wake)

    @staticmethod
    def _drain(wake: int) -> None:
        with suppress(BlockingIOError):
            os.read(wake, 4096)


def progress_of(job: Path) -> str:
    """Return the name of a job's newest checkpoint, an empty string where it has none; later ones come later."""
    return max((path.name for path in job.glob("checkpoints/iter_*.pt")), default="")


def told_status(status: int) -> str:
    """Return why a process ended that could not say it itself."""
    if status >= 0:
        return f"its process ended with exit status {status}"
    name = signal.Signals(-status).name
    memory = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{memory}"
