"""The parameter groups of a run without its data, and without the memory of its model."""

from __future__ import annotations

import torch
from omegaconf import DictConfig, open_dict

from hookline.models.build import build_model
from hookline.optim.build import build_optimizer, chosen_option, lr_factor
from hookline.optim.freeze import apply_freeze
from hookline.optim.group_values import group_names, momentum_of


def base_values_of_groups(cfg: DictConfig) -> dict[str, tuple[float, float | None]]:
    """Return the base learning rate and momentum of every parameter group, by name.

    The groups depend on the names and dimensions of the parameters, not on their numbers: the model is built without
    any, and for images of a usual kind.
    """
    node = cfg.model.copy()
    with open_dict(node):
        for key in ("pretrained", "weights", "checkpoint_path"):
            if key in node:
                node[key] = False if key == "pretrained" else None
    with torch.device("meta"):
        model = build_model(node, num_classes=10, in_chans=3, img_size=224)
    apply_freeze(cfg.get("freeze"), model)
    optimizer = build_optimizer(cfg.optimizer, model, cfg.param_groups, lr_scale=lr_factor(cfg), option=chosen_option())
    groups = zip(group_names(optimizer), optimizer.param_groups, strict=True)
    return {name: (float(group["lr"]), momentum_of(group)) for name, group in groups}
