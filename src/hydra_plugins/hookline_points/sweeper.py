"""Hydra's own sweeper, with the points of a `sweep/` file beside the values of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf, open_dict, read_write

from hookline.config.errors import ConfigError, ParameterError
from hookline.sweep.points import check_count, expand, without
from hookline.sweep.show import composing


class PointsSweeper(BasicSweeper):
    """Run every combination of the command line's values with every point of the file that `sweep=NAME` chooses.

    A key that both have takes the command line's values. Whatever launcher is chosen gets plain lists of overrides.

    Args:
        max_batch_size: jobs that are handed to the launcher at once; None for all.
        params: overrides that every sweep has, as for Hydra's own sweeper.
        points: the node of the `sweep/` file; None without one.
    """

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
        points: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(max_batch_size, params)
        # Interpolations are left to the jobs.
        plain: Any = OmegaConf.to_container(OmegaConf.create(dict(points or {})), resolve=False)
        self.points: dict[str, Any] = plain

    def sweep(self, arguments: list[str]) -> Any:
        assert self.config is not None
        # A job is composed without the file, so what changes the file would find nothing to change.
        with read_write(self.config), open_dict(self.config):
            given = self.config.hydra.overrides.hydra
            self.config.hydra.overrides.hydra = [o for o in given if "hydra.sweeper.points" not in o]
        return super().sweep(arguments)

    def split_arguments(  # type: ignore[override]
        self, overrides: Sequence[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        own = [override for override in overrides if override.key_or_group != "sweep"]
        chosen = next((o.input_line for o in overrides if o.key_or_group == "sweep"), "sweep")
        if any(o.is_sweep_override() for o in overrides if o.key_or_group == "sweep"):
            raise ConfigError(f"{chosen}: must be one option; a sweep of several grids is a file that has them all")
        for override in own:
            if override.is_sweep_override() and not override.is_discrete_sweep():
                raise ConfigError(f"{override.input_line}: is no list of values; hydra/sweeper=optuna searches it")
        check_count(own, 1)
        (given,) = super().split_arguments(own, None)
        if not self.points:
            jobs = given
        else:
            keys = {override.key_or_group for override in own}
            try:
                points = expand(self.points, keys)
                check_count(own, len(points))
                jobs = without([[*job, *point] for point in points for job in given], self.points.get("exclude"))
            except ParameterError as error:
                raise ConfigError(f"{chosen}: {error}") from error
        return [list(chunk) for chunk in self.split_overrides_to_chunks(jobs, max_batch_size)]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose each job to see whether that can be done, which takes a tenth of a second or more each."""
        super().validate_batch_is_legal(composing(batch))  # type: ignore[arg-type]  # they are gone through once
