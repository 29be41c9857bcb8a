"""Learning rates that fall from the head to the stem."""

from __future__ import annotations

from typing import Any

from timm.models import group_parameters
from timm.optim import param_groups_layer_decay
from timm.optim._param_groups import auto_group_layers
from torch import nn

from hookline.config.checks import check_bool, check_number
from hookline.optim.param_groups.grouping import Setting, group_settings


class LayerDecay:
    """Layer-wise learning-rate decay (Bao et al., 2021, BEiT), by timm's helper and its idea of a model's layers.

    Layer i of L, counted from the stem, has the learning rate `lr * max(min_scale, layer_decay^(L - 1 - i))`, so the
    head has `lr`. Biases, normalisation weights and whatever the model lists in `no_weight_decay()` are not decayed.
    A model without timm's `group_matcher` is cut into pieces of twelve parameters.

    Args:
        layer_decay: the factor from one layer to the one below, in (0, 1].
        min_scale: the least factor on the learning rate.
        decay_1d: decay weights of one dimension as well.
    """

    def __init__(self, *, layer_decay: float = 0.75, min_scale: float = 0.0, decay_1d: bool = False) -> None:
        check_number("layer_decay", layer_decay, gt=0, le=1)
        check_number("min_scale", min_scale, ge=0, le=1)
        check_bool("decay_1d", decay_1d)
        self.layer_decay = layer_decay
        self.min_scale = min_scale
        self.decay_1d = decay_1d

    def __call__(self, model: nn.Module, lr: float | None, weight_decay: float | None) -> list[dict[str, Any]]:
        exempt: Any = getattr(model, "no_weight_decay", tuple)
        groups = param_groups_layer_decay(
            model,
            weight_decay=weight_decay or 0.0,
            no_weight_decay_list=exempt(),
            weight_decay_exclude_1d=not self.decay_1d,
            layer_decay=self.layer_decay,
            min_scale=self.min_scale,
        )
        scale = {id(p): (g["lr_scale"], g["weight_decay"]) for g in groups for p in g["params"]}
        layers = layer_of_each(model)
        settings = [
            Setting(
                parameter,
                None if lr is None else lr * scale[id(parameter)][0],
                None if weight_decay is None else scale[id(parameter)][1],
                f"layer{layers[name]}",
            )
            for name, parameter in sorted(model.named_parameters(), key=lambda item: layers[item[0]])
            if parameter.requires_grad
        ]
        return group_settings(settings, weight_decay)


def layer_of_each(model: nn.Module) -> dict[str, int]:
    """Return each parameter's layer by name, counted from the stem, as timm's layer decay sees it."""
    matcher: Any = getattr(model, "group_matcher", None)
    if matcher is not None:
        layers = group_parameters(model, matcher(coarse=False), reverse=True)
    else:
        layers = auto_group_layers(model)
    top = max(layers.values())
    return {name: layers.get(name, top) for name, _ in model.named_parameters()}
