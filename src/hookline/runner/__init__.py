"""The runner: the loop, its clock and its metrics."""

from hookline.runner.metrics import MetricBuffer, Window
from hookline.runner.runner import Runner

__all__ = ["MetricBuffer", "Runner", "Window"]
