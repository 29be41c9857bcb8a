"""Where jobs run: one slot for each GPU or MIG slice, or shares of the cores."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hookline.sweep.lock import take


@dataclass
class Slot:
    """A place for one process at a time, which is a job or one of several that do it.

    Attributes:
        device: the GPU or MIG slice that its job sees as the only one, None for a share of the cores.
        turn: which of the jobs that share the device it is for, counted from 0.
    """

    device: str | None = None
    turn: int = 0
    busy: bool = field(default=False, compare=False)

    @property
    def environment(self) -> dict[str, str]:
        """What its job gets to see."""
        return {} if self.device is None else {"CUDA_VISIBLE_DEVICES": self.device}

    def claim(self, folder: Path | None = None) -> int | None:
        """Return the descriptor of a lock that keeps other sweeps of this user off the device, None if one has it.

        The lock is given to the job's process, and ends with it. A share of the cores has no lock of its own: the
        descriptor is that of nothing.
        """
        if self.device is None:
            return os.open(os.devnull, os.O_RDONLY)
        place = folder or Path(tempfile.gettempdir()) / f"hookline-{os.getuid()}"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return take(place / f"{re.sub(r'[^A-Za-z0-9-]', '_', self.device)}.{self.turn}.lock")


def claim_several(slots: Sequence[Slot], count: int) -> tuple[list[Slot], list[int]]:
    """Return so many free slots on different devices, with their locks; none of either where there are not as many."""
    taken: list[Slot] = []
    locks: list[int] = []
    for slot in slots:
        if len(taken) == count:
            break
        if slot.busy or (slot.device is not None and slot.device in [one.device for one in taken]):
            continue
        if (lock := slot.claim()) is not None:
            taken.append(slot)
            locks.append(lock)
    if len(taken) == count:
        return taken, locks
    for lock in locks:
        os.close(lock)
    return [], []


def joined(slots: Sequence[Slot]) -> Slot:
    """Return one slot with the devices of several, as a job of several processes has it."""
    return Slot(",".join(slot.device for slot in slots if slot.device is not None) or None)


def make_slots(wanted: int | None, devices: list[str], cores: int, jobs: int, widest: int = 1) -> list[Slot]:
    """Return the slots of a launch.

    Args:
        wanted: how many; None for one for each device, or without any for each core, but no more than jobs.
        devices: GPUs and MIG slices; more slots than these share them in turn.
        cores: that may be used.
        jobs: that are to run; one of several processes counts as often.
        widest: the most processes that a job has.
    """
    count = wanted or max(widest, min(len(devices) or cores, max(1, jobs)))
    if not devices:
        return [Slot() for _ in range(count)]
    return [Slot(devices[number % len(devices)], number // len(devices)) for number in range(count)]


def find_devices() -> list[str]:
    """Return the GPUs and MIG slices of this machine that jobs may use, without initialising CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        listing = ""
    return devices_of(visible, listing)


def devices_of(visible: str | None, listing: str) -> list[str]:
    """Return the devices by what the environment and `nvidia-smi -L` say.

    Args:
        visible: `CUDA_VISIBLE_DEVICES`, None where it is not set. What it names is taken as it is, up to the first
            entry that CUDA takes for the end of the list.
        listing: the output of `nvidia-smi -L`. Of a GPU that is cut into MIG slices, the slices count: a process sees
            only one of them.
    """
    if not listing:
        return []
    if visible is not None:
        entries = [entry.strip() for entry in visible.split(",")]
        end = next((i for i, entry in enumerate(entries) if not entry or entry.startswith("-")), len(entries))
        return entries[:end]
    found: list[tuple[str, list[str]]] = []
    for line in listing.splitlines():
        if match := re.match(r"GPU \d+: .*\(UUID: (GPU-[^)]+)\)", line):
            found.append((match[1], []))
        elif (match := re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", line)) and found:
            found[-1][1].append(match[1])
    return [device for gpu, slices in found for device in (slices or [gpu])]
