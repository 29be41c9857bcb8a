"""Schedules: pure functions of where training stands. Plain Python; nothing here imports torch."""

from hookline.schedules.clock import Clock
from hookline.schedules.curve import Curve
from hookline.schedules.curves import Cosine, Fixed, Step
from hookline.schedules.warmup import WarmUp

__all__ = ["Clock", "Cosine", "Curve", "Fixed", "Step", "WarmUp"]
