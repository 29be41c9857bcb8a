"""What one of several processes does or asks for, all of them do after the same update."""

from __future__ import annotations

import pytest
from tests.engine import ddp_runs
from tests.engine.together import together

EVENTS = {
    "stop": ("stop", 1, "after_train_iter"),
    "stop in between": ("stop", 1, "between_updates", 6),
    "stop at a record": ("stop", 1, "after_record"),
    "stop at an epoch's end": ("stop", 1, "after_train_epoch"),
    "signal": ("signal", 1, "after_train_iter"),
    "signal to the first": ("signal", 0, "after_train_iter"),
    "signal in an evaluation": ("signal", 1, "after_val_iter"),
    "a number of the first": ("log", 0, "after_train_iter", 3),
    "a number of another": ("log", 1, "after_train_iter", 3),
}

# The tests share what the processes gave, so one process of the suite runs them all.
pytestmark = pytest.mark.xdist_group("ddp_events")


@pytest.fixture(scope="module")
def found():
    return together(2, ddp_runs.of_events, list(EVENTS.values()))


def ends(found, name):
    return [answer["ended"][list(EVENTS).index(name)] for answer in found]


# An epoch has 5 updates, so what follows update 5 is its end.
@pytest.mark.parametrize(
    ("name", "iterations"),
    [("stop", 6), ("stop in between", 6), ("stop at a record", 5), ("stop at an epoch's end", 5)],
)
def test_a_stop_of_one_process_ends_all_after_the_same_update(found, name, iterations):
    for answer in ends(found, name):
        assert (answer["iterations"], answer["status"]) == (iterations, "stopped")
        assert answer["reason"] == "process 1 has seen enough"
        assert answer["rows"] == ends(found, name)[0]["rows"]


@pytest.mark.parametrize(("name", "iterations"), [("signal", 6), ("signal to the first", 6)])
def test_a_signal_to_one_process_ends_all_after_the_same_update(found, name, iterations):
    for answer in ends(found, name):
        assert (answer["iterations"], answer["status"], answer["signal"]) == (iterations, "interrupted", "SIGTERM")
        assert answer["whole"]


def test_a_signal_in_an_evaluation_breaks_it_off_in_all(found):
    for answer in ends(found, "signal in an evaluation"):
        assert (answer["iterations"], answer["status"], answer["signal"]) == (5, "interrupted", "SIGTERM")
        assert answer["whole"]
        assert answer["history"] == []


def test_what_the_first_process_logs_is_in_every_history(found):
    for answer in ends(found, "a number of the first"):
        assert [row["iterations"] for row in answer["history"] if row.get("mine") == 1.0] == [4]
    for answer in ends(found, "a number of another"):
        assert not any("mine" in row for row in answer["history"])


def test_micro_batches_are_reduced_once_an_update(found):
    for answer in found:
        once, in_parts = answer["reductions"]
        assert once == in_parts > 0


def test_parameters_without_a_gradient_are_told_with_the_key_that_helps(found):
    for answer in found:
        told, fine = answer["unused"]
        assert told == "find_unused_parameters=False: must be true: idle.weight, idle.bias got no gradient"
        assert fine == "fine"


def test_processes_tell_one_another_what_they_have(found):
    for answer in found:
        assert answer["whole"] == list(range(7))
        assert answer["first"] == {"rank": 0}
        assert answer["each"] == [0, 1]
