"""Slots of a launch, by lists of devices."""

from __future__ import annotations

import os

import pytest

from hookline.sweep.slots import claim_several, devices_of, joined, make_slots

TWO = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5c89852c)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-7f2e11aa)
"""
CUT = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5c89852c)
  MIG 3g.20gb     Device  0: (UUID: MIG-aa)
  MIG 3g.20gb     Device  1: (UUID: MIG-bb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-7f2e11aa)
"""


@pytest.mark.parametrize(
    ("visible", "listing", "devices"),
    [
        (None, "", []),
        ("0,1", "", []),
        (None, TWO, ["GPU-5c89852c", "GPU-7f2e11aa"]),
        (None, CUT, ["MIG-aa", "MIG-bb", "GPU-7f2e11aa"]),
        ("1", TWO, ["1"]),
        ("MIG-bb, GPU-7f2e11aa", CUT, ["MIG-bb", "GPU-7f2e11aa"]),
        ("", TWO, []),
        ("0,-1,1", TWO, ["0"]),
        (None, "No devices found.", []),
    ],
)
def test_devices(visible, listing, devices):
    assert devices_of(visible, listing) == devices


@pytest.mark.parametrize(
    ("wanted", "devices", "slots"),
    [
        (None, [], [(None, 0)] * 4),
        (2, [], [(None, 0)] * 2),
        (None, ["a", "b"], [("a", 0), ("b", 0)]),
        (3, ["a", "b"], [("a", 0), ("b", 0), ("a", 1)]),
        (1, ["a", "b"], [("a", 0)]),
    ],
)
def test_slots(wanted, devices, slots):
    assert [(slot.device, slot.turn) for slot in make_slots(wanted, devices, cores=4, jobs=8)] == slots


def test_no_more_slots_than_jobs_by_itself():
    assert len(make_slots(None, [], cores=4, jobs=2)) == 2


def test_a_job_of_several_processes_gets_different_devices(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    slots = make_slots(4, ["GPU-a", "GPU-b"], cores=8, jobs=4)
    taken, locks = claim_several(slots, 2)
    assert [slot.device for slot in taken] == ["GPU-a", "GPU-b"]
    assert joined(taken).environment == {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}
    assert claim_several(slots, 3) == ([], [])
    again, more = claim_several(slots, 2)  # the second turn of each
    assert [(slot.device, slot.turn) for slot in again] == [("GPU-a", 1), ("GPU-b", 1)]
    assert claim_several(slots, 1) == ([], [])
    for lock in (*locks, *more):
        os.close(lock)
    assert claim_several(slots, 1)[0] == slots[:1]


def test_without_devices_there_are_as_many_slots_as_the_widest_job_has_processes():
    assert len(make_slots(None, [], cores=2, jobs=4, widest=4)) == 4
    assert joined(make_slots(None, [], cores=2, jobs=4, widest=4)).environment == {}
