"""One group with the optimizer's own values."""

from __future__ import annotations

from typing import Any

from torch import nn

from hookline.optim.param_groups.grouping import Setting, group_settings


class Plain:
    """Train every parameter with the optimizer's learning rate and weight decay."""

    def __call__(self, model: nn.Module, lr: float | None, weight_decay: float | None) -> list[dict[str, Any]]:
        settings = [Setting(p, lr, weight_decay) for p in model.parameters() if p.requires_grad]
        return group_settings(settings, weight_decay)
