"""Processes that meet as a launcher's do, forked from one that has imported torch already."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.commands.one_node import free_port

from hookline.commands.launchers import Started

LIMIT = 60.0


def launched(
    count: int, work: Callable[..., None], *arguments: Any, agent: bool = True, late: float = 0.0
) -> list[int]:
    """Run `work(peers, *arguments)` in so many processes, and return their exit statuses.

    This process keeps the store, as torchrun does, or with `agent=False` the first of them, as under srun, which begins
    `late` seconds after the others. The test fails when they do not all end in time.
    """
    from torch.distributed import TCPStore

    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=LIMIT))
    port = store.port if agent else free_port()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch.distributed", "hookline.commands.peers"])
    workers = [
        context.Process(target=_work, args=(rank, count, port, agent, 0.0 if rank else late, work, arguments))
        for rank in range(count)
    ]
    for worker in workers:
        worker.start()
    until = time.monotonic() + LIMIT
    try:
        for rank, worker in enumerate(workers):
            worker.join(max(0.0, until - time.monotonic()))
            assert worker.exitcode is not None, f"process {rank} of {count} did not end"
        return [worker.exitcode or 0 for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _work(
    rank: int,
    count: int,
    port: int,
    agent: bool,
    late: float,
    work: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    from hookline.commands.peers import PeerLost, Peers

    sys.argv[1:] = []
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    time.sleep(late)
    mine = Peers(Started("a test", rank, count, "localhost", port, agent=agent))
    status = 0
    try:
        work(mine, *arguments)
    except PeerLost as error:
        if mine.speaks():
            mine.speak(mine.told(error.loss))
        status = error.loss.status
    finally:
        mine.leave()
    os._exit(status)


def wait_for_ever(mine: Any) -> None:
    """Wait for what nobody tells, as a process does in a collective call that another one does not come to."""
    mine.ask("what nobody tells")
