"""The warning of parameters that are trained in vain."""

from __future__ import annotations

import logging

import torch
from tests.toy import toy_runner
from torch import nn

from hookline.hooks.unused_parameters import UnusedParametersHook


class Model(nn.Module):
    """Uses one of its three layers; another is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare, self.fixed = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)
        self.fixed.requires_grad_(False)

    def forward(self, x):
        return self.used(x.flatten(1))


def test_unused_parameters_are_named_once(caplog):
    model = Model()
    runner = toy_runner(UnusedParametersHook(), model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    with caplog.at_level(logging.WARNING, "hookline"):
        runner.run()
    (record,) = caplog.records
    assert record.message == "parameters that never got a gradient: spare.weight, spare.bias"
