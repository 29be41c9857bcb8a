"""A composed config, and its groups."""

from __future__ import annotations

from omegaconf import DictConfig

from hookline.config.errors import ConfigError


def compose_config(*overrides: str, root: str = "train") -> DictConfig:
    """Return the config that a command has with these overrides, for use from Python and inside another command."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from hookline.config import paths, resolvers

    if GlobalHydra.instance().is_initialized():  # a command's own, which looks in the same folders
        return compose(root, list(overrides))
    resolvers.register()
    with initialize_config_dir(str(paths.conf()), version_base="1.3"):
        return compose(root, list(overrides))


def require(cfg: DictConfig, *groups: str) -> None:
    """Raise `ConfigError` where one of these groups was left out of the config."""
    for group in groups:
        if cfg.get(group) is None:
            raise ConfigError(f"{group}: is missing; choose an option with {group}=NAME")
