"""A run of several processes goes on as if it had not stopped, on as many processes or on another number."""

from __future__ import annotations

import pickle

import pytest
import torch
from tests.engine import ddp_runs
from tests.engine.together import together

from hookline.engine.processes import Processes

# In mid-epoch, and after an epoch's end; frozen parts are trained from the second epoch on.
MOMENTS = (3, 5, 8)
RUN = {"iters": 13, "freeze": {"patterns": ["conv"], "epochs": 1}, "update": {"micro_batches": 2}}

# The tests share what the processes gave, so one process of the suite runs them all.
pytestmark = pytest.mark.xdist_group("ddp_resume")


@pytest.fixture(scope="module")
def whole():
    return together(2, ddp_runs.with_states, MOMENTS, RUN)


def test_only_the_first_process_calls_what_writes(whole):
    assert list(whole[0]["states"]) == list(MOMENTS)
    assert whole[1]["states"] == {}


def test_a_checkpoint_is_that_of_one_process(whole):
    alone = ddp_runs.with_states(Processes(), MOMENTS, RUN)
    own, expected = (pickle.loads(run["states"][8])["parts"] for run in (whole[0], alone))
    assert list(own["model"]) == list(expected["model"])
    assert own.keys() == expected.keys()
    assert own["random"].keys() == expected["random"].keys()


def test_on_as_many_processes_it_is_bit_identical(whole):
    states = list(whole[0]["states"].values())
    for answers in together(2, ddp_runs.resumed, states, RUN):
        for answer in answers:
            for part in ("weights", "averages", "history"):
                torch.testing.assert_close(answer[part], whole[0][part], rtol=0, atol=0)


@pytest.mark.parametrize("count", [1, 3])
def test_on_another_number_it_goes_on_with_the_same_samples(whole, count):
    states = list(whole[0]["states"].values())
    if count == 1:
        answers = ddp_runs.resumed(Processes(), states, RUN)
    else:
        answers = together(count, ddp_runs.resumed, states, RUN)[0]
    for answer in answers:
        torch.testing.assert_close(answer["weights"], whole[0]["weights"], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(answer["history"], whole[0]["history"], rtol=1e-9, atol=1e-9)
