"""Constructors of parameter groups: which parameter gets which learning rate and weight decay.

A constructor is any callable `(model, lr, weight_decay) -> groups`, `lr` and `weight_decay` being the optimizer's base
values (None where it has none). A group is a dict with `params`, a `name`, and what differs from the optimizer's own.
"""

from hookline.optim.param_groups.grouping import Constructor, Setting, group_settings
from hookline.optim.param_groups.layer_decay import LayerDecay
from hookline.optim.param_groups.paramwise import Paramwise
from hookline.optim.param_groups.plain import Plain

__all__ = ["Constructor", "LayerDecay", "Paramwise", "Plain", "Setting", "group_settings"]
