"""Changes to the config of a run that is over."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hookline.config.errors import ConfigError, did_you_mean, first_line
from hookline.config.groups import group_names, options

# Of a data set that is chosen in the place of the run's own, these stay the run's: the model was trained with them.
STAYING = ("transforms",)

# What an option of `augment` hands on to its transforms; a stored config has the values in each of them already.
HANDED_ON = ("size", "interpolation", "crop_pct", "crop_mode")


def changed(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return the config with overrides as on train.py's command line: `GROUP=OPTION`, `KEY=VALUE`, `+KEY=...`, `~KEY`.

    Another data set keeps the run's own transforms of all images.

    Raises:
        ConfigError: there is no such key or option.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from hookline.config import local
    from hookline.experiment.compose import compose_config

    if not overrides:
        return cfg
    folders, parser, parsed = local.config_folders(), OverridesParser.create(), []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except HydraException as error:
            raise ConfigError(f"{text}: is not of the form KEY=VALUE (nor +KEY=VALUE, ~KEY)") from error
    groups = group_names(folders)
    chosen = [override for override in parsed if override.key_or_group in groups and not override.is_delete()]
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    anew = [override.key_or_group for override in chosen]
    for override in chosen:
        group, option, known = override.key_or_group, override.value(), list(options(folders, override.key_or_group))
        if not isinstance(option, list) and str(option) not in known:
            near = did_you_mean(str(option), known)
            raise ConfigError(f"{group}={option}: there is no such option.{near} It can be: {', '.join(known)}")
    if chosen:
        composed = compose_config(*[str(override.input_line).lstrip("+") for override in chosen])
        for group in anew:
            node = composed[group]
            if group == "data" and OmegaConf.is_dict(cfg.get("data")):
                for key in STAYING:
                    if key in cfg.data:
                        OmegaConf.update(node, key, cfg.data[key], merge=False, force_add=True)
            cfg[group] = node
    for override in parsed:
        if override in chosen:
            continue
        key, line = str(override.key_or_group), str(override.input_line)
        node = OmegaConf.select(cfg, key.rpartition(".")[0]) if "." in key else cfg
        name = key.rpartition(".")[2]
        if not OmegaConf.is_dict(node) or (name not in node and not override.is_add()):
            known = [str(entry) for entry in node] if OmegaConf.is_dict(node) else []
            near = f"{did_you_mean(name, known)} There is: {', '.join(known)}" if known else ""
            raise ConfigError(f"{line}: the run has no such key.{near}")
        if key in [f"augment.{entry}" for entry in HANDED_ON] and "augment" not in anew and cfg.augment.get("val"):
            raise ConfigError(
                f"{line}: has no effect on its own, as the run's transforms have their values already; choose them anew"
                f" with an option of augment, such as augment=imagenet {line}"
            )
        try:
            if override.is_delete():
                del node[name]
            else:
                OmegaConf.update(cfg, key, override.value(), merge=not override.is_force_add(), force_add=True)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{line}: {first_line(str(error))}") from error
    return cfg
