"""When a process counts as hung, by the signs of life that it gives."""

from __future__ import annotations

import pytest

from hookline.commands.life import INTERVAL, Beat, Watch


def looks(beats: list[Beat], most: int, silence: float = 10.0) -> tuple[float, str] | None:
    """Return after how many seconds of looks at these signs a process counts as hung, and why."""
    watch = Watch()
    for number, beat in enumerate(beats):
        if (reason := watch.look(beat, beat.calls, most, silence)) is not None:
            return number * INTERVAL, reason
    return None


def staying(seconds: float, calls: int = 5, others_wait: bool = False, place: str = "loop") -> list[Beat]:
    """Return the signs of a process that makes no collective call for so long."""
    return [Beat(number, calls, others_wait, place) for number in range(1, int(seconds / INTERVAL) + 2)]


def test_a_sign_is_read_as_it_was_written():
    beat = Beat(3, 17, False, 'hooks.mine, in after_train_iter of iteration 4 "ü"')
    assert Beat.parse(str(beat).encode()) == beat


def test_a_process_without_new_signs_is_hung():
    assert looks([Beat(1, 5)] * 100, 5) == (10.0, "has given no sign of life for 10 seconds")


def test_a_process_that_keeps_others_waiting_is_hung():
    assert looks(staying(60), 6) == (10.0, "has kept the others waiting for 10 seconds")
    assert looks(staying(60), 6, silence=2.5) == (2.5, "has kept the others waiting for 2.5 seconds")


def test_a_process_that_nobody_waits_for_may_take_its_time():
    assert looks(staying(60), 5) is None


def test_a_process_may_take_long_where_that_is_known():
    assert looks(staying(60, others_wait=True), 6) is None
    assert looks(staying(9) + staying(60, others_wait=True)[18:30] + staying(9), 6) is None


def test_a_process_that_comes_further_is_slow_and_not_hung():
    beats = [beat for calls in range(1, 9) for beat in staying(9, calls)]
    assert looks([Beat(number, beat.calls, False) for number, beat in enumerate(beats)], 9) is None


@pytest.mark.parametrize("later", ["update of iteration 2", "evaluation of iteration 2"])
@pytest.mark.parametrize("others_wait", [True, False])
def test_where_an_update_takes_long_a_process_has_twice_that_time_in_others(others_wait, later):
    watch = Watch()
    for beat in staying(20, 1, others_wait, "update of iteration 1"):
        assert watch.look(beat, 1, 1, 10.0) is None
    reasons = [watch.look(beat, 2, 3, 10.0) for beat in staying(50, 2, place=later)]
    assert reasons.index("has kept the others waiting for 40 seconds") * INTERVAL == 40.0
    watch.look(Beat(200, 3, False, "hooks.mine"), 3, 4, 10.0)
    reasons = [watch.look(beat, 3, 4, 10.0) for beat in staying(50, 3, place="hooks.mine")]
    assert reasons.index("has kept the others waiting for 10 seconds") * INTERVAL == 9.5


@pytest.mark.parametrize(
    ("others_wait", "place", "least"), [(True, "data of iteration 2", 1), (False, "update of iteration 2", 0)]
)
def test_waiting_for_data_or_for_another_process_gives_no_more_time_later(others_wait, place, least):
    watch = Watch()
    for beat in staying(60, 1, others_wait, place):
        assert watch.look(beat, least, 1, 10.0) is None
    reasons = [watch.look(beat, 2, 3, 10.0) for beat in staying(10, 2, place="update of iteration 2")]
    assert reasons[-1] == "has kept the others waiting for 10 seconds"
