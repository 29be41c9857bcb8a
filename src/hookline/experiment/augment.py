"""Per-sample transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omegaconf import DictConfig

from hookline.config.instantiate import build, to_plain

if TYPE_CHECKING:
    from hookline.data.transforms.sample import SampleTransform


def build_augment(cfg: DictConfig, split: str) -> dict[str, SampleTransform]:
    """Return the per-sample transforms of a split, by name; a null entry is left out."""
    from hookline.data.transforms.sample import SampleTransform

    nodes = to_plain((cfg.get("augment") or {}).get(split) or {}, f"augment.{split}")
    wanted = "a subclass of hookline.data.transforms.sample.SampleTransform"
    return {
        name: build(node, f"augment.{split}.{name}", kind=SampleTransform, wanted=wanted)
        for name, node in nodes.items()
        if node is not None
    }
