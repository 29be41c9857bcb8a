"""Checkpoint files: how they are written, verified, kept and found."""

from hookline.checkpoint.files import CheckpointError, is_checkpoint, read, write
from hookline.checkpoint.folder import CheckpointFolder
from hookline.checkpoint.writer import Writer

__all__ = ["CheckpointError", "CheckpointFolder", "Writer", "is_checkpoint", "read", "write"]
