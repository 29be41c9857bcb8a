"""Slots of a launch, by lists of devices."""

from __future__ import annotations

import pytest

from hookline.sweep.slots import devices_of, make_slots

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
