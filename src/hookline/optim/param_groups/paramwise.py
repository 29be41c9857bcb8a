"""Learning rate and weight decay by the kind of a parameter, or by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from timm.layers import evo_norm, filter_response_norm, grn, norm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from hookline.config.checks import check_bool, check_number
from hookline.config.errors import ParameterError, did_you_mean
from hookline.optim.param_groups.grouping import Setting, group_settings
from hookline.optim.parameter_names import head_names, in_modules, near_names

# Norms of timm that are none of torch's. What is derived from them, such as a norm with an activation, is one too.
TIMM_NORMS = (
    *(norm.RmsNorm, norm.RmsNormFp32, norm.RmsNorm2d, norm.RmsNorm2dFp32),
    *(norm.SimpleNorm, norm.SimpleNormFp32, norm.SimpleNorm2d, norm.SimpleNorm2dFp32),
    *(evo_norm.EvoNorm2dB0, evo_norm.EvoNorm2dB1, evo_norm.EvoNorm2dB2),
    *(evo_norm.EvoNorm2dS0, evo_norm.EvoNorm2dS1, evo_norm.EvoNorm2dS2),
    *(filter_response_norm.FilterResponseNormAct2d, filter_response_norm.FilterResponseNormTlu2d),
    grn.GlobalResponseNorm,
)
NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, *TIMM_NORMS)
DECAY_MULTIPLIERS = ("bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult", "flat_decay_mult")
CUSTOM = ("lr_mult", "decay_mult")


class Paramwise:
    """The rules of MMCV 1.7.2's DefaultOptimizerConstructor, each a factor on the optimizer's base value.

    A parameter whose name contains a key of `custom_keys` follows that key alone: the longest one that it contains, the
    alphabetically first of equally long ones. For any other parameter:

    - its learning rate is multiplied by `bias_lr_mult` if it is a bias, though not of a normalisation layer, and by
      `head_lr_mult` if it is in the model's head;
    - its weight decay by `norm_decay_mult` in a normalisation layer, weight and bias; else by `dwconv_decay_mult` in a
      depthwise convolution (as many groups as input channels, and more than one); else by
      `bias_decay_mult` if it is a bias; and by `flat_decay_mult` if it has one dimension and no other of these factors
      is given for it.

    `flat_decay_mult` is MMEngine's, `head_lr_mult` ours.

    Args:
        bias_lr_mult: see above; null: 1.
        bias_decay_mult: see above; null: 1.
        norm_decay_mult: see above; null: 1.
        dwconv_decay_mult: see above; null: 1.
        flat_decay_mult: see above; null: 1.
        head_lr_mult: see above; null: 1.
        custom_keys: `{part of a name: {lr_mult: ..., decay_mult: ...}}`.
        bypass_duplicate: take a parameter that two modules share by the first of them; else it is an error.
    """

    def __init__(
        self,
        *,
        bias_lr_mult: float | None = None,
        bias_decay_mult: float | None = None,
        norm_decay_mult: float | None = None,
        dwconv_decay_mult: float | None = None,
        flat_decay_mult: float | None = None,
        head_lr_mult: float | None = None,
        custom_keys: Mapping[str, Mapping[str, float | None]] | None = None,
        bypass_duplicate: bool = False,
    ) -> None:
        self.mult = {
            "bias_lr_mult": bias_lr_mult,
            "bias_decay_mult": bias_decay_mult,
            "norm_decay_mult": norm_decay_mult,
            "dwconv_decay_mult": dwconv_decay_mult,
            "flat_decay_mult": flat_decay_mult,
            "head_lr_mult": head_lr_mult,
        }
        for name, value in self.mult.items():
            if value is not None:
                check_number(name, value, ge=0)
        check_bool("bypass_duplicate", bypass_duplicate)
        self.bypass_duplicate = bypass_duplicate
        self.custom_keys = {str(key): _checked(str(key), entry) for key, entry in (custom_keys or {}).items()}
        self.sorted_keys = sorted(sorted(self.custom_keys), key=len, reverse=True)

    def __call__(self, model: nn.Module, lr: float | None, weight_decay: float | None) -> list[dict[str, Any]]:
        self._check_base(lr, weight_decay)
        self._check_keys(model)
        head = head_names(model) if self.mult["head_lr_mult"] is not None else []
        if self.mult["head_lr_mult"] is not None and not head:
            raise ParameterError(
                "head_lr_mult", self.mult["head_lr_mult"], "null: this model's head is unknown (name it in custom_keys)"
            )
        settings, seen = [], set()
        for module, prefix, name, parameter in _members(model):
            if not parameter.requires_grad:
                continue
            if id(parameter) in seen:
                if self.bypass_duplicate:
                    continue
                raise ParameterError(
                    "bypass_duplicate", False, f"true: {prefix}.{name} is a parameter that another module has as well"
                )
            seen.add(id(parameter))
            settings.append(self._setting(module, prefix, name, parameter, head, lr, weight_decay))
        return group_settings(settings, weight_decay)

    def _setting(
        self,
        module: nn.Module,
        prefix: str,
        name: str,
        parameter: nn.Parameter,
        head: list[str],
        lr: float | None,
        weight_decay: float | None,
    ) -> Setting:
        full = f"{prefix}.{name}"
        for key in self.sorted_keys:
            if key in full:
                lr_mult, decay_mult = self.custom_keys[key].get("lr_mult"), self.custom_keys[key].get("decay_mult")
                return Setting(parameter, _times(lr, lr_mult), _times(weight_decay, decay_mult), key)

        is_norm, bias = isinstance(module, NORMS), name == "bias"
        depthwise = isinstance(module, nn.Conv2d) and module.in_channels == module.groups > 1
        kind = "norm" if is_norm else "dwconv" if depthwise else "bias" if bias else ""
        decay_mult = self.mult[f"{kind}_decay_mult"] if kind else None
        if decay_mult is None and parameter.ndim == 1:
            kind, decay_mult = "flat", self.mult["flat_decay_mult"]
        labels = [kind] if decay_mult not in (None, 1) else []
        if bias and not is_norm and (mult := self.mult["bias_lr_mult"]) is not None:
            lr = _times(lr, mult)
            labels = ["bias"] if mult != 1 and labels in ([], ["bias"], ["flat"]) else labels
        if in_modules(full, head):
            lr = _times(lr, self.mult["head_lr_mult"])
            labels = ["head", *labels]
        return Setting(parameter, lr, _times(weight_decay, decay_mult), "_".join(labels))

    def _check_base(self, lr: float | None, weight_decay: float | None) -> None:
        given = [name for name in DECAY_MULTIPLIERS if self.mult[name] not in (None, 1)]
        given += [f"custom_keys.{key}.decay_mult" for key, e in self.custom_keys.items() if e.get("decay_mult", 1) != 1]
        if given and not weight_decay:
            name = given[0]
            key = name.split(".", 1)[1].rpartition(".")[0] if "." in name else ""
            value = self.custom_keys[key]["decay_mult"] if key else self.mult[name]
            what = "has no weight decay" if weight_decay is None else "has weight_decay=0"
            raise ParameterError(name, value, f"null: the optimizer {what} to multiply (set optimizer.weight_decay)")
        if lr is None:
            for name in ("bias_lr_mult", "head_lr_mult"):
                if self.mult[name] is not None:
                    raise ParameterError(name, self.mult[name], "null: the optimizer has no lr to multiply")

    def _check_keys(self, model: nn.Module) -> None:
        names = [f"{prefix}.{name}" for _, prefix, name, _ in _members(model)]
        for key in self.custom_keys:
            if not any(key in name for name in names):
                near = near_names(key, names)
                raise ParameterError("custom_keys", key, f"a part of the name of one of the model's parameters.{near}")


def _members(model: nn.Module) -> Iterator[tuple[nn.Module, str, str, nn.Parameter]]:
    """Yield each module's own parameters, shared ones as often as they occur: (module, its name, name, parameter)."""
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, parameter in module.named_parameters(recurse=False):
            yield module, prefix, name, parameter


def _times(base: float | None, mult: float | None) -> float | None:
    return base if base is None or mult is None else base * mult


def _checked(key: str, entry: object) -> dict[str, float]:
    name = f"custom_keys.{key}"
    if not isinstance(entry, Mapping):
        raise ParameterError(name, entry, "a mapping with lr_mult, decay_mult or both")
    for field, value in entry.items():
        if field not in CUSTOM:
            near = did_you_mean(str(field), CUSTOM)
            raise ParameterError(f"{name}.{field}", value, f"left out: it can have lr_mult and decay_mult.{near}")
        if value is not None:
            check_number(f"{name}.{field}", value, ge=0)
    return {field: value for field, value in entry.items() if value is not None}
