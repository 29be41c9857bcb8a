"""Mixing the samples of a training batch with one another."""

from __future__ import annotations

import torch
from torchvision.transforms import v2

from hookline.config.checks import check_number
from hookline.config.errors import ParameterError
from hookline.data.batch import Batch
from hookline.data.randomness import seed_of


class Mix:
    """Replace a batch by a mixture of its samples, with soft targets, by torchvision's MixUp and CutMix.

    Mixup (Zhang et al., 2018, https://arxiv.org/abs/1710.09412) averages whole images, CutMix (Yun et al., 2019,
    https://arxiv.org/abs/1905.04899) pastes a rectangle of one into the other; a sample's partner is its neighbour in
    the shuffled batch. What is drawn is a function of (seed, epoch, number of the batch), and disturbs no other random
    numbers.

    Args:
        mixup: alpha of mixup's Beta(alpha, alpha); 0: no mixup.
        cutmix: alpha of CutMix's; 0: no CutMix.
        cutmix_share: of the mixed batches, how many get CutMix where both are on, in (0, 1).
        p: share of the batches that are mixed, in (0, 1].
        num_classes: width of the targets.
    """

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

    def __call__(self, batch: Batch, *, seed: int, epoch: int, number: int) -> Batch:
        """Return batch `number` of this epoch, mixed."""
        state = torch.get_rng_state()
        # torchvision draws on the CPU: seeding that generator alone leaves those of the devices as they are.
        torch.default_generator.manual_seed(seed_of(seed, "mix", epoch, number))
        try:
            images, targets = self.transform(batch.images, batch.targets)
        finally:
            torch.set_rng_state(state)
        return Batch(images, targets, batch.indices, batch.weights)
