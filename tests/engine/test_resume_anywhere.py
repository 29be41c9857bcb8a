"""A run that is interrupted after any update, and goes on in a new process, is the run that never stopped."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from tests.conftest import thinned
from tests.engine import resume_worker

EPOCHS, ITERS_PER_EPOCH = 3, 3

# Everything that could tell two runs apart: dropout, augmentation, mixing, an average of the weights, a schedule that
# follows a metric, with a warm-up, and parameters that are frozen for the first epoch.
RUN = [
    "model._target_=tests.engine.resume_worker.SmallNet",
    *("data.batch_size=512", "data.transforms.resize=null", f"runner.max_epochs={EPOCHS}", "runner.device=cpu"),
    *("optimizer=adamw", "optimizer.lr=0.01", "mix=both", "hooks=ema", "hooks.ema.decay=0.7"),
    *("lr_schedule=plateau", "lr_schedule.patience=0", "lr_schedule.threshold=0.5", "lr_schedule.factor=0.5"),
    *("lr_schedule.warmup=linear", "lr_schedule.warmup_iters=4"),
    *("freeze.patterns=['body.0']", "freeze.epochs=1", "evaluation.monitor=val_ema/loss", "logger.interval=2"),
]
PRECISIONS = ["fp32", pytest.param("bf16", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def in_new_process():
    """Return a function that calls `resume_worker.train` in a process that has done nothing before."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.engine.resume_worker"])

    def call(*arguments):
        # It ends its process by a word: a signal may be blocked in what the server of another test has forked.
        with ProcessPoolExecutor(1, context) as pool:
            return pool.submit(resume_worker.train, *arguments).result()

    return call


@pytest.fixture(scope="module", params=PRECISIONS)
def whole(request, in_new_process, tmp_path_factory):
    """Return what lasts of a run that was never interrupted, its overrides, and the states on its way."""
    folder = tmp_path_factory.mktemp(request.param)
    overrides = [*RUN, f"runner.precision={request.param}"]
    undisturbed = in_new_process(folder / "whole", overrides)
    watched = in_new_process(folder / "watched", overrides, None, folder / "states")
    assert watched == undisturbed
    return undisturbed, overrides, folder / "states"


# After each iteration, and once more at each epoch's end, when its numbers are recorded.
MOMENTS = [f"{i:02d}-{(i - 1) // ITERS_PER_EPOCH}" for i in range(1, EPOCHS * ITERS_PER_EPOCH + 1)]
MOMENTS += [f"{e * ITERS_PER_EPOCH:02d}-{e}" for e in range(1, EPOCHS + 1)]


# The tests of one precision share a run, so one process of the suite runs them all.
pytestmark = pytest.mark.xdist_group("resume_anywhere")


@pytest.mark.parametrize("moment", thinned(MOMENTS, 4))
def test_resumed_anywhere(whole, moment, in_new_process, tmp_path):
    expected, overrides, states = whole
    got = in_new_process(tmp_path, overrides, states / f"{moment}.pt")
    assert {name: got[name] == expected[name] for name in expected} == dict.fromkeys(expected, True)


def test_the_run_has_all_that_could_go_wrong(whole, in_new_process, tmp_path):
    expected, overrides, _ = whole
    other = in_new_process(tmp_path, [*overrides, "seed=1"])
    assert not any(other[name] == expected[name] for name in ("model", "optimizer", "hooks.ema", "history"))


def test_the_states_are_all_there(whole):
    assert sorted(path.stem for path in whole[2].iterdir()) == sorted(MOMENTS)
