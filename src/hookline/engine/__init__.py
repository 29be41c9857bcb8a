"""The runner: the loop, its clock and its metrics."""

from hookline.engine.runner import Runner
from hookline.engine.sums import MetricBuffer, Window

__all__ = ["MetricBuffer", "Runner", "Window"]
