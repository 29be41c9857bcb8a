"""The processes that a launcher has started for one run: who they are, whether they live, and why they end.

They meet at a store (`torch.distributed.TCPStore`). A thread in each gives a sign of life there and looks after the
others. A second one ends its own process in order when one of them, or the launcher, cannot go on, also where the store
answers no more: no process waits for another that has gone.
"""

from __future__ import annotations

import _thread
import json
import math
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from hookline.commands.hello import Hello
from hookline.commands.launchers import Started
from hookline.commands.life import INTERVAL, Beat, Watch
from hookline.config.errors import ConfigError, first_line, reason_of

T = TypeVar("T")

# Seconds after which a process counts as hung, unless `distributed.silence` says otherwise.
SILENCE = 10.0
# Seconds that processes have to come together: imports over a network may take minutes.
JOIN = 300.0
# Seconds after which the first process says that it waits for others, or the second that it waits for the first.
WAITING = 10.0
# Seconds of `distributed.timeout` where nothing says otherwise.
TIMEOUT = 300.0
# Seconds that a process has to find the same error itself before another's is acted upon.
OWN = 1.0
# Seconds that a process has to end by itself, and to write its last files then.
GRACE, LAST = 3.0, 60.0

# Exit statuses: of an error, and of one that is the user's to mend.
FAILED, USER_ERROR = 1, 2
LOSS = "loss"


@dataclass(frozen=True)
class Loss:
    """Why the run cannot go on.

    Attributes:
        rank: of the process that is the cause.
        reason: what happened to it.
        status: the exit status that follows: 2 for a user's error.
        stage: where its loop was; empty if nobody knows.
        hook: the hook that was being called there.
        gone: whether the process has not said this itself, as it could not.
    """

    rank: int
    reason: str
    status: int = FAILED
    stage: str = "start"
    hook: str | None = None
    gone: bool = False


class PeerLost(Exception):
    """Another process cannot go on, so this one does not, either."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss.reason)
        self.loss = loss


class Peers:
    """This process among those that train together.

    Args:
        started: how it was started.
        parent: the number of the process that has started it.
        orphaned: called where that has gone, and this process is ended without its main thread.

    Attributes:
        rank: its number.
        count: how many there are.
        hellos: what each has said of itself, by rank.
        loss: why the run cannot go on, None as long as it can.
        failure: the same where this process is the cause.
        silence, timeout: `distributed.silence` and `distributed.timeout`.
        place: says where the loop is.
        calls: says how many collective calls this process has made.
        others_wait: says whether what it does now may take one process long.
        ending: says whether the run is ending by itself.
        last_words: called with the loss where the process has to be ended from the outside, if it speaks for all.

    Raises:
        ConfigError: the processes do not come together.
    """

    def __init__(
        self, started: Started, parent: int | None = None, orphaned: Callable[[], None] = lambda: None
    ) -> None:
        self.started = started
        self.rank, self.count = started.rank, started.count
        self.loss: Loss | None = None
        self.failure: Loss | None = None
        self.silence, self.timeout = SILENCE, TIMEOUT
        self.place: Callable[[], str] = lambda: "start"
        self.calls: Callable[[], int] = lambda: 0
        self.others_wait: Callable[[], bool] = lambda: True
        self.ending: Callable[[], bool] = lambda: False
        self.last_words: Callable[[Loss], None] = lambda loss: self.speak(f"error: {self.told(loss)}")
        self._screen = os.dup(2)
        if self.rank:
            self.show_in(Path(os.devnull))
        # Who sets the environment by hand may end, as a shell does that has started processes in the background.
        self._parent = None if started.by_hand else os.getppid() if parent is None else parent
        self._orphaned = orphaned
        self._host = self.rank == 0 and not started.agent
        self._over = threading.Event()
        self._place = f"{started.address}:{started.port}"
        self.hellos: list[Hello] = []
        # What the thread at the store has found, and how many rounds it has made: a store may answer no more.
        self._found: Loss | None = None
        self._launcher_gone = self._stuck = False
        self._rounds = 0
        self._watched = {rank: Watch() for rank in (range(1, self.count) if self.rank == 0 else [0])}
        self._threads = [threading.Thread(target=self._watch, daemon=True)]
        self._threads[0].start()
        try:
            self._check_address()
            self.store = self._connect(self._host)
            self._own = Hello.own()
            self._claim()
            self.store.set(f"beat/{self.rank}", str(Beat()))
            self.hellos = self._meet()
        except BaseException:
            self._over.set()
            raise
        self._threads.append(threading.Thread(target=self._look_after, daemon=True))
        self._threads[1].start()

    def _check_address(self) -> None:
        try:
            socket.getaddrinfo(self.started.address, self.started.port)
        except (OSError, UnicodeError) as error:
            raise ConfigError(
                f"MASTER_ADDR={self.started.address}: the processes cannot meet there: this host is not known"
                f" ({reason_of(error)})"
            ) from error

    def _connect(self, host: bool = False) -> Any:
        from torch.distributed import DistNetworkError, PrefixStore, TCPStore

        address, port = self.started.address, self.started.port
        limit = timedelta(seconds=JOIN)
        try:
            store = _in_reach_of_signals(
                lambda: TCPStore(address, port, is_master=host, wait_for_workers=False, timeout=limit)
            )
        except (DistNetworkError, ValueError) as error:
            reason = first_line(str(error))
            if re.search("EADDRINUSE|in use", str(error)):
                reason = "the port is in use; choose another one, such as with torchrun --master-port, or MASTER_PORT"
            raise ConfigError(f"{address}:{port}: the processes cannot meet there: {reason}") from error
        return PrefixStore(f"hookline/{self.started.attempt}", store)

    def _claim(self) -> None:
        """Say at the store who this process is, unless another run has met there, whose port this is."""
        own = json.dumps(asdict(self._own))
        if self.store.compare_set(f"hello/{self.rank}", "", own).decode() != own:
            raise ConfigError(
                f"{self._place}: another run's processes meet there; choose another port, with MASTER_PORT"
            )

    def _meet(self) -> list[Hello]:
        keys, until = [f"hello/{rank}" for rank in range(self.count)], time.monotonic() + JOIN
        waited = False
        while not self.store.check(keys):
            if self.rank == 0 and not waited and time.monotonic() > until - JOIN + WAITING:
                waited = True
                missing = sum(not self.store.check([key]) for key in keys)
                self.speak(f"waiting for {missing} of {self.count} processes at {self._place}")
            if time.monotonic() > until:
                absent = [rank for rank, key in enumerate(keys) if not self.store.check([key])]
                raise ConfigError(
                    f"{self.started.launcher}: of {self.count} processes these have not come within {JOIN:g} seconds:"
                    f" {', '.join(map(str, absent))}"
                )
            time.sleep(0.02)
        hellos = [json.loads(text) for text in self.store.multi_get(keys)]
        return [Hello(**{**h, "cores": tuple(h["cores"]), "arguments": tuple(h["arguments"])}) for h in hellos]

    @property
    def here(self) -> list[int]:
        """The ranks of the processes on this machine, this one's among them."""
        return [rank for rank, hello in enumerate(self.hellos) if hello.machine == self._own.machine]

    @property
    def sharing(self) -> int:
        """How many processes share this one's cores, itself among them."""
        mine = set(self._own.cores)
        return sum(1 for rank in self.here if mine & set(self.hellos[rank].cores)) or 1

    def publish(self, key: str, value: Any) -> None:
        """Tell the others something."""
        self.store.set(key, json.dumps(value))

    def ask(self, key: str, rank: int = 0) -> Any:
        """Return what one of the others tells, once it does.

        Args:
            key: what is told.
            rank: of the process that tells it.

        Raises:
            PeerLost: another process cannot go on, or this one has not told it within `distributed.timeout`.
        """
        until = time.monotonic() + self.timeout
        try:
            while not self.store.check([key]):
                if self.loss is None and time.monotonic() > until:
                    self.loss = self._blame(rank)
                if self.loss is not None:
                    raise PeerLost(self.loss)
                time.sleep(0.02)
            return json.loads(self.store.get(key))
        except RuntimeError as error:
            loss = self.cause_of(error)
            if loss is None:
                raise
            raise PeerLost(loss) from error

    def fail(self, reason: str, status: int = FAILED, stage: str = "start", hook: str | None = None) -> None:
        """Tell the others that this process cannot go on; the first word of that counts."""
        self.failure = Loss(self.rank, reason, status, stage, hook)
        self._post(self.store, self.failure)

    def end_together(self) -> None:
        """Wait until all processes have come to the end of the run, so that none of them is well without the others.

        Raises:
            PeerLost: another process cannot go on.
        """
        try:
            self.publish(f"end/{self.rank}", True)
            for rank in range(self.count):
                self.ask(f"end/{rank}", rank)
        except RuntimeError:
            loss = self.loss or self._store_lost()
            if loss is not None:
                raise PeerLost(loss) from None
            # The store has gone with the launcher: the run is at its end here, and nothing is to be learnt of others.

    def _post(self, store: Any, loss: Loss) -> Loss:
        try:
            return Loss(**json.loads(store.compare_set(LOSS, "", json.dumps(asdict(loss)))))
        except RuntimeError:  # the store has gone, and so have the others that kept it
            return loss

    def cause_of(self, error: BaseException) -> Loss | None:
        """Return what of another process an error comes from, None where it is this process's own.

        A collective call that fails, and a signal, may each be what follows from another's end: a launcher ends the
        others when one has ended.
        """
        self.loss = self.loss or self._cause_of(error)
        return self.loss

    def _cause_of(self, error: BaseException) -> Loss | None:
        from hookline.engine.processes import of_collective

        if isinstance(error, PeerLost):
            return error.loss
        if not isinstance(error, Exception):
            return self._look(self.store)
        failed: BaseException | None = error
        while failed is not None and not of_collective(failed):  # whoever meets one may raise another from it
            failed = failed.__cause__
        if failed is None:
            return None
        alone = len(self.here) == self.count
        until = time.monotonic() + (2.0 if alone else self.silence + 2.0)
        while (loss := self.loss or self._look(self.store)) is None and time.monotonic() < until:
            time.sleep(0.1)
        return loss or self._late(failed)

    def _look(self, store: Any) -> Loss | None:
        """Return why the run cannot go on, as far as it can be seen at once."""
        try:
            if store.check([LOSS]):
                found = Loss(**json.loads(store.get(LOSS)))
                # What this process has said itself it knows; what others say of it, it has to follow.
                return found if found.rank != self.rank or found.gone else None
            for rank in self.here:
                if rank != self.rank and self.hellos[rank].gone() and not store.check([f"done/{rank}"]):
                    reason = "has gone without a word, as one does that is killed or finds no memory"
                    return self._post(store, Loss(rank, reason, gone=True, stage=self._place_of(store, rank)))
        except RuntimeError:
            return self._store_lost()
        return None

    def _store_lost(self) -> Loss | None:
        """Return that the first process has gone, where it kept the store."""
        if self.started.agent or self.rank == 0:
            return None
        stage = self._watched[0].beat.place
        return Loss(0, "has gone without a word, and the store that it kept", gone=True, stage=stage)

    def _place_of(self, store: Any, rank: int) -> str:
        return Beat.parse(store.get(f"beat/{rank}")).place

    def _late(self, error: BaseException) -> Loss | None:
        """Return which process did not come to a collective call in time: the one that has made the fewest."""
        others = [rank for rank in range(self.count) if rank != self.rank]
        try:
            beats = [Beat.parse(text) for text in self.store.multi_get([f"beat/{rank}" for rank in others])]
        except RuntimeError:
            return self._store_lost()
        beat, rank = min(zip(beats, others, strict=True), key=lambda pair: pair[0].calls)
        elsewhere = beat.calls < self.calls() or beat.place != self.place()
        return self._blame(rank) if elsewhere and self._lasted(str(error)) else None

    def _blame(self, rank: int) -> Loss:
        """Say that the others have waited for a process for too long, and end it if it is on this machine."""
        reason = "has kept the others waiting for longer than distributed.timeout"
        loss = self._post(self.store, Loss(rank, reason, stage=self._place_of(self.store, rank), gone=True))
        self._kill(loss)
        return loss

    def _lasted(self, text: str) -> bool:
        """Say whether an error is that a collective call has waited for as long as `distributed.timeout`."""
        waited = [int(number) for number in re.findall(r"(\d+) ?(?:ms|milliseconds)\b", text)]
        return re.search("(?i)timed? ?out", text) is not None and max(waited, default=math.inf) >= 900 * self.timeout

    def told(self, loss: Loss) -> str:
        """Return a loss in words."""
        hello = self.hellos[loss.rank]
        where = f"process {loss.rank} ({hello.host}, pid {hello.pid})"
        if loss.status != FAILED:
            return f"{where}: {loss.reason}"
        if loss.gone:
            seen = f"; last seen in {loss.stage}" if loss.stage not in ("", "start") else ""
            return f"{where} {loss.reason}{seen}"
        at = f"hooks.{loss.hook}, in {loss.stage}" if loss.hook else loss.stage
        return f"{where} failed in {at}: {loss.reason}"

    def speaks(self) -> bool:
        """Say whether this process tells what has become of the run: the first one, or one of those left without it."""
        first_is_gone = self.loss is not None and self.loss.gone and self.loss.rank == 0
        if self.rank == 0 or not first_is_gone:
            return self.rank == 0 and not first_is_gone
        if self._stuck:  # the store does not answer
            return self.rank == 1
        try:
            return bool(self.store.compare_set("speaker", "", str(self.rank)).decode() == str(self.rank))
        except RuntimeError:
            return self.rank == 1

    def speak(self, message: str) -> None:
        """Print a message to the standard error that this process was started with."""
        try:
            os.write(self._screen, f"{message}\n".encode(errors="backslashreplace"))
        except OSError:
            return

    def show_in(self, path: Path) -> None:
        """Let all that this process prints go into a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.close(file)

    def _look_after(self) -> None:
        """Give signs of life at the store, and look there for the others'; a call of the store may never return."""
        from torch.distributed import DistError

        store = None
        while not self._over.wait(INTERVAL) and self._found is None:
            try:
                store = store or self._connect()
                own = Beat(self._rounds, self.calls(), self.others_wait(), self.place())
                store.set(f"beat/{self.rank}", str(own))
                loss = self._look(store)
                seen = [Beat.parse(text) for text in store.multi_get([f"beat/{rank}" for rank in self._watched])]
                calls = [beat.calls for beat in (own, *seen)]
                for (rank, watch), beat in zip(self._watched.items(), seen, strict=True):
                    reason = watch.look(beat, min(calls), max(calls), self.silence)
                    if loss is None and reason is not None and not store.check([f"done/{rank}"]):
                        loss = self._post(store, Loss(rank, reason, gone=True, stage=beat.place))
            except (DistError, ConfigError, RuntimeError):
                loss = self._store_lost()
                self._launcher_gone = loss is None
            self._found = self._found or loss
            self._rounds += 1
            if self._launcher_gone:
                return

    def _watch(self) -> None:
        """End this process where the launcher has gone, another process cannot go on, or the store does not answer."""
        alone = seen = waited = 0
        while not self._over.wait(INTERVAL):
            if self._launcher_gone or self._parent not in (None, os.getppid()):
                self._end_without_launcher()
                return
            if not self.hellos:
                alone += 1
                if self.rank == 1 and not self.started.agent and alone * INTERVAL == WAITING:
                    self.speak(f"waiting for process 0 at {self._place}")
                continue
            waited = waited + 1 if self._rounds == seen else 0
            seen = self._rounds
            if self._found is not None:
                self._end_with(self._found)
                return
            if waited * INTERVAL >= self.silence and self._first_keeps_store():
                self._stuck = True
                reason = f"has given no sign of life for {self.silence:g} seconds"
                self._found = Loss(0, reason, gone=True, stage=self._watched[0].beat.place)

    def _first_keeps_store(self) -> bool:
        """Say whether a store that does not answer means that the first process, or its machine, does not."""
        return self.rank != 0 and not (self.started.agent and 0 in self.here)

    def _end_with(self, loss: Loss) -> None:
        """End this process in order, as another one cannot go on; by force, if it does not come to its end."""
        if not loss.gone and self._over.wait(OWN):
            return
        self.loss = loss
        self._kill(loss)
        if not self._end_main():
            if self.speaks():
                self.last_words(loss)
            os._exit(loss.status)

    def _end_without_launcher(self) -> None:
        """End this process in order, as the launcher has gone, which would have ended it."""
        begun = bool(self.hellos)
        if not self._over.is_set() and not (begun and self._end_main()):
            self._orphaned()
            os._exit(128 + signal.SIGTERM)

    def _end_main(self) -> bool:
        """Ask the main thread to end, and say whether it does."""
        _thread.interrupt_main(signal.SIGTERM)
        until = time.monotonic() + GRACE
        while not self._over.wait(0.1):
            if self.ending():
                return self._over.wait(LAST)
            if time.monotonic() > until:
                return False
        return True

    def _kill(self, loss: Loss) -> None:
        """Kill the process that is the cause if it is another one of this machine and does not answer."""
        hello = self.hellos[loss.rank]
        if loss.gone and loss.rank in self.here and loss.rank != self.rank and not hello.gone():
            with suppress(OSError):
                os.kill(hello.pid, signal.SIGKILL)

    def leave(self) -> None:
        """Say that this process comes to its end in order, after which nobody misses it.

        The first one stays while the others need its store, and all stay while the one that has failed writes its last
        files: a launcher may end it when another one has ended.
        """
        if self._over.is_set():
            return
        self._over.set()
        for thread in self._threads:
            thread.join(2 * INTERVAL)
        failed = [] if self.loss is None or self.loss.gone else [self.loss.rank]
        needed = range(self.count) if self._host else failed
        until = time.monotonic() + (LAST if failed else 10.0)
        try:
            self.store.set(f"done/{self.rank}", "")
            while time.monotonic() < until and not all(self._has_left(rank) for rank in needed):
                time.sleep(0.02)
        except RuntimeError:
            return

    def _has_left(self, rank: int) -> bool:
        return self.store.check([f"done/{rank}"]) or (rank in self.here and self.hellos[rank].gone())


def _in_reach_of_signals(call: Callable[[], T]) -> T:
    """Return what a call of native code gives that may block for minutes, in which signals are handled all the same."""
    found: Future[T] = Future()

    def work() -> None:
        try:
            found.set_result(call())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    while True:
        with suppress(TimeoutError):
            return found.result(0.1)


# This process's, where a launcher has started several.
_peers: list[Peers] = []


def join(
    environment: Mapping[str, str], parent: int | None = None, orphaned: Callable[[], None] = lambda: None
) -> Peers | None:
    """Come together with the other processes that a launcher has started, None where there are none (see `Peers`)."""
    from hookline.commands.launchers import started_by

    started = started_by(environment)
    if started is None or started.count == 1:
        return None
    # What torch says of its sockets is not for the screen: each failure is told in words of ours.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    _peers[:] = [Peers(started, parent, orphaned)]
    return _peers[0]


def peers() -> Peers | None:
    """Return this process among those that train together, None for a process alone."""
    return _peers[0] if _peers else None
