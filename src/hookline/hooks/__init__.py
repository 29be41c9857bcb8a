"""Hooks: everything that acts or watches during training. Configs name them by their modules."""

from hookline.engine.hook import Hook, Priority

__all__ = ["Hook", "Priority"]
