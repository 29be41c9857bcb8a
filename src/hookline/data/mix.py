"""Mixing the samples of a training batch with one another."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from hookline.config.checks import check_number
from hookline.config.errors import ConfigError, ParameterError
from hookline.config.instantiate import build
from hookline.engine import Runner
from hookline.engine.hook import Hook, Priority


def build_mix(node: Mapping[str, Any] | None, loss: Any, num_classes: int, device: torch.device) -> list[Hook]:
    """Return the hook that the `mix` node describes, or none; raise `ConfigError` if the loss takes no soft targets."""
    if node is None or node.get("_target_") is None:
        return []
    hook = build(node, "mix", num_classes=num_classes)
    logits = torch.zeros(2, num_classes, device=device)
    try:
        value = loss(logits, torch.full_like(logits, 1 / num_classes))
    except Exception as error:  # whatever a loss for labels does with something else
        raise _no_soft_targets(loss) from error
    if value.ndim != 0 or not bool(value.isfinite()):
        raise _no_soft_targets(loss)
    return [hook]


def _no_soft_targets(loss: Any) -> ConfigError:
    return ConfigError(
        f"mix: mixing gives soft targets, and {type(loss).__name__} takes labels only; choose loss=cross_entropy,"
        " soft_target, bce or focal, or mix=none"
    )


class MixHook(Hook):
    """Replace each training batch by a mixture of its samples, with soft targets, by torchvision's MixUp and CutMix.

    Mixup (Zhang et al., 2018) averages whole images, CutMix (Yun et al., 2019) pastes a rectangle of one into the
    other; a sample's partner is its neighbour in the shuffled batch. What is drawn is a function of (seed, epoch,
    iteration), and disturbs no other random numbers.

    Args:
        mixup: alpha of mixup's Beta(alpha, alpha); 0: no mixup.
        cutmix: alpha of CutMix's; 0: no CutMix.
        cutmix_share: of the mixed batches, how many get CutMix where both are on, in (0, 1).
        p: share of the batches that are mixed, in (0, 1].
        num_classes: width of the targets.
    """

    priority = Priority.BELOW_NORMAL

    def __init__(
        self, *, mixup: float = 0.0, cutmix: float = 0.0, cutmix_share: float = 0.5, p: float = 1.0, num_classes: int
    ) -> None:
        check_number("mixup", mixup, ge=0)
        check_number("cutmix", cutmix, ge=0)
        check_number("cutmix_share", cutmix_share, gt=0, lt=1)
        check_number("p", p, gt=0, le=1)
        if not mixup and not cutmix:
            raise ParameterError("mixup", mixup, "above 0, or cutmix (mix=none mixes nothing)")
        kinds: list[v2.Transform] = []
        shares: list[float] = []
        if mixup:
            kinds.append(v2.MixUp(alpha=mixup, num_classes=num_classes))
            shares.append(1 - cutmix_share if cutmix else 1)
        if cutmix:
            kinds.append(v2.CutMix(alpha=cutmix, num_classes=num_classes))
            shares.append(cutmix_share if mixup else 1)
        transform = kinds[0] if len(kinds) == 1 else v2.RandomChoice(kinds, p=shares)
        self.transform = transform if p == 1 else v2.RandomApply([transform], p=p)

    def before_train_iter(self, runner: Runner) -> None:
        runner.batch = self.mix(*runner.batch, seed=runner.seed, epoch=runner.epoch, iteration=runner.inner_iter)

    def mix(self, images: Tensor, labels: Tensor, *, seed: int, epoch: int, iteration: int) -> tuple[Tensor, Tensor]:
        """Return the batch of this seed, epoch and iteration within the epoch, mixed."""
        state = torch.get_rng_state()
        # Torch's CPU generator takes 32 bits of a seed. Seeding it alone leaves those of the devices as they are.
        torch.default_generator.manual_seed(zlib.crc32(f"{seed} {epoch} {iteration}".encode()))
        try:
            return self.transform(images, labels)
        finally:
            torch.set_rng_state(state)
