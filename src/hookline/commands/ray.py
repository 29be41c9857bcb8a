"""A sweep on a Ray cluster: the jobs of this machine's launcher, placed on the cluster's nodes."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.types import HydraContext
from omegaconf import DictConfig

from hookline.commands.search import SearchLaunch
from hookline.commands.sweep import Job
from hookline.config.checks import check_number
from hookline.config.errors import ConfigError, reason_of
from hookline.config.instantiate import told_at
from hookline.config.packages import need
from hookline.sweep.pool import Pool
from hookline.sweep.ray_pool import RayPool
from hookline.sweep.slots import Slot


class RayLaunch(SearchLaunch):
    """Runs the jobs of a sweep, or of a search, on a Ray cluster.

    Args:
        options: of the node `launcher`.
        cluster: of `conf/hydra/launcher/ray.yaml`: `address`, `cpus_per_job`, `gpus_per_job`.
        context: Hydra's, which composes configs.
        task: what the command runs.
        config: the sweep's own config.

    Raises:
        ConfigError: Ray is not there, or the cluster is not.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        cluster: Mapping[str, Any],
        context: HydraContext,
        task: Any,
        config: DictConfig,
    ) -> None:
        with told_at("hydra.launcher"):
            check_number("cpus_per_job", cluster["cpus_per_job"], gt=0, integer=True)
            if cluster["gpus_per_job"] is not None:
                check_number("gpus_per_job", cluster["gpus_per_job"], ge=0)
        self._cluster = dict(cluster)
        self._pool: RayPool | None = None
        super().__init__(options, context, task, config)

    def pool(self) -> Pool:
        if self._pool is None or not self._pool.alive():
            self._connect()
            self._pool = RayPool(self._cluster["cpus_per_job"], self._gpus())
        return self._pool  # type: ignore[return-value]

    def _connect(self) -> None:
        """Join the cluster, or be one of this machine alone that ends with this process."""
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        need("hydra/launcher=ray", "ray", "ray")
        import ray

        address = self._cluster["address"]
        try:
            ray.init(
                address=address or "local",
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # whatever a cluster that is not there raises
            raise ConfigError(f"hydra.launcher.address={address}: Ray refused it: {reason_of(error)}") from error

    def _gpus(self) -> float:
        """Return the GPUs that each job needs: what is asked for, or one where the cluster has any."""
        import ray

        wanted = self._cluster["gpus_per_job"]
        if wanted is not None:
            return float(wanted)
        on_cpu = str((self.config.get("runner") or {}).get("device")) == "cpu"
        return float(not on_cpu and ray.cluster_resources().get("GPU", 0) > 0)

    def _slots(self, jobs: Sequence[Job]) -> tuple[list[Slot], int]:
        """Return a slot for each job that the cluster has room for; which node it runs on is Ray's to say."""
        cpus = self._cluster["cpus_per_job"]
        if self.options["dry_run"] or self.options["emit"]:
            return [Slot() for _ in range(self._wanted() or max(1, len(jobs)))], cpus
        import ray

        self.pool()
        have = ray.cluster_resources()
        room = math.floor(have.get("CPU", 0) / cpus)
        if gpus := self._gpus():
            room = min(room, math.floor(have.get("GPU", 0) / gpus))
        if room < 1:
            raise ConfigError(
                f"hydra.launcher.cpus_per_job={cpus}: the cluster has room for no such job: it has"
                f" {have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs"
            )
        count = min(self._wanted() or room, room, max(1, len(jobs)))
        sys.stdout.flush()
        return [Slot() for _ in range(count)], cpus
