"""Processes that train together, forked from one that has imported torch already."""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

LIMIT = 60.0


def together(count: int, work: Callable[..., Any], *arguments: Any, limit: float = LIMIT) -> list[Any]:
    """Return what `work(processes, *arguments)` returns in each of `count` processes, by rank.

    All of them are ended, and the test fails, when one raises or the time is up.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.engine.ddp_runs"])
    with tempfile.TemporaryDirectory() as folder:
        workers = [context.Process(target=_work, args=(folder, r, count, work, arguments)) for r in range(count)]
        for worker in workers:
            worker.start()
        end = monotonic() + limit
        try:
            for rank, worker in enumerate(workers):
                worker.join(max(0.0, end - monotonic()))
                assert worker.exitcode is not None, f"process {rank} of {count} did not end in {limit:g} s"
            answers = [pickle.loads((Path(folder) / f"answer{rank}").read_bytes()) for rank in range(count)]
        finally:
            for worker in workers:
                worker.kill()
                worker.join()
    failures = [f"process {rank}:\n{answer}" for rank, (done, answer) in enumerate(answers) if not done]
    assert not failures, "\n".join(failures)
    return [answer for _, answer in answers]


def _work(folder: str, rank: int, count: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    import torch
    from torch import distributed as dist

    from hookline.engine.processes import Processes

    torch.set_num_threads(1)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    meet, limit = f"file://{folder}/meet", timedelta(seconds=20)
    dist.init_process_group(backend, init_method=meet, rank=rank, world_size=count, timeout=limit)
    try:
        answer = True, work(Processes(rank, count, rank, count), *arguments)
    except BaseException:
        answer = False, traceback.format_exc()
    (Path(folder) / f"answer{rank}").write_bytes(pickle.dumps(answer))
    if answer[0]:
        dist.destroy_process_group()
