"""Checkpoint files."""

from hookline.checkpoint.files import load, save

__all__ = ["load", "save"]
