"""How many cores this process may really use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

OWN_GROUPS = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def available_cores(sharing: int = 1) -> int:
    """Return the number of cores that this process may use, at least 1.

    It is the lesser of this process's share of `allowed_cores`, and of the environment's `OMP_NUM_THREADS`, by which
    one process is told to use fewer.

    Args:
        sharing: how many processes share what scheduler and quota allow.
    """
    cores = allowed_cores() // sharing
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return max(1, min(cores, int(threads)) if threads.isdigit() else cores)


def allowed_cores() -> int:
    """Return the number of cores that this process and those it starts may use together, at least 1.

    It is the lesser of what the scheduler allows (affinity), and of the CPU quota of a container or batch system
    (cgroup v1 or v2).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return max(1, cores if quota is None else min(cores, int(quota)))


def cpu_quota(own_groups: Path = OWN_GROUPS, groups: Path = GROUPS) -> float | None:
    """Return how many cores' time the control groups of this process allow, None for no limit.

    Args:
        own_groups: the file that lists the groups of this process.
        groups: where the groups are mounted.
    """
    try:
        lines = own_groups.read_text().splitlines()
    except OSError:  # no Linux
        return None
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            quotas += [_quota_v2(folder) for folder in _upwards(groups, path)]
        elif "cpu" in controllers.split(","):
            for name in ("cpu", controllers):
                quotas += [_quota_v1(folder) for folder in _upwards(groups / name, path)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """Yield the folder of a group and those of the groups around it; inside a container some are not to be seen."""
    folder = root / path.strip("/")
    yield folder
    while folder != root:
        folder = folder.parent
        yield folder


def _quota_v2(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
