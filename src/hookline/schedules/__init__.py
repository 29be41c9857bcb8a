"""Schedules: pure functions of where training stands. Plain Python; nothing here imports torch."""

from hookline.schedules.clock import Clock
from hookline.schedules.combine import Chain, Sequential
from hookline.schedules.cosines import CosineCooldown, CosineRestart, FlatCosine
from hookline.schedules.curve import Curve
from hookline.schedules.curves import Cosine, Exp, Fixed, Inv, Linear, Poly, Step
from hookline.schedules.cycles import Cyclic, OneCycle, OneCycleInverse
from hookline.schedules.decays import Rex, Tanh, Wsd
from hookline.schedules.plateau import Plateau
from hookline.schedules.warmup import WarmUp

__all__ = [
    "Chain",
    "Clock",
    "Cosine",
    "CosineCooldown",
    "CosineRestart",
    "Curve",
    "Cyclic",
    "Exp",
    "Fixed",
    "FlatCosine",
    "Inv",
    "Linear",
    "OneCycle",
    "OneCycleInverse",
    "Plateau",
    "Poly",
    "Rex",
    "Sequential",
    "Step",
    "Tanh",
    "WarmUp",
    "Wsd",
]
