"""Losses that take labels and soft targets alike, with class weights where they can have them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.loss import BinaryCrossEntropy as TimmBinaryCrossEntropy
from timm.loss import SoftTargetCrossEntropy
from torch import Tensor, nn
from torch.nn import functional

from hookline.config.checks import check_bool, check_number
from hookline.config.errors import ParameterError

Weight = Sequence[float] | str | None


class CrossEntropy(nn.CrossEntropyLoss):
    """`torch.nn.CrossEntropyLoss`, of labels `[B]` or soft targets `[B, C]`.

    Args:
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        weight: one weight per class; or `balanced`: `N / (C n_c)` for a class with n_c of N training samples; or null.
        class_counts: training samples of each class, for `balanced`.
    """

    def __init__(
        self, *, label_smoothing: float = 0.0, weight: Weight = None, class_counts: Tensor | None = None
    ) -> None:
        check_number("label_smoothing", label_smoothing, ge=0, lt=1)
        super().__init__(weight=class_weights(weight, class_counts), label_smoothing=label_smoothing)

    def total_weight(self, target: Tensor) -> Tensor | int:
        """Return what the mean over a batch of this target is divided by."""
        return _total_weight(self.weight, target)


class SoftTarget(SoftTargetCrossEntropy):
    """timm's cross-entropy of soft targets; labels become one-hot targets."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        if target.ndim == 1:
            target = functional.one_hot(target, x.shape[1]).to(x.dtype)
        return super().forward(x, target)


class BinaryCrossEntropy(TimmBinaryCrossEntropy):
    """timm's binary cross-entropy, each class for itself, of labels or soft targets.

    Args:
        smoothing: label smoothing, in [0, 1).
        target_threshold: soft targets above it, in [0, 1), become 1 and others 0; None: they stay soft.
        sum_classes: sum over the classes instead of the mean.
        pos_weight: weight of the positive targets, above 0; or a list with one for each class.
        smooth_dense: smooth soft targets too.
    """

    def __init__(
        self,
        *,
        smoothing: float = 0.1,
        target_threshold: float | None = None,
        sum_classes: bool = False,
        pos_weight: float | Sequence[float] | None = None,
        smooth_dense: bool = False,
    ) -> None:
        check_number("smoothing", smoothing, ge=0, lt=1)
        check_bool("sum_classes", sum_classes)
        check_bool("smooth_dense", smooth_dense)
        if target_threshold is not None:
            check_number("target_threshold", target_threshold, ge=0, lt=1)
        for number in pos_weight if isinstance(pos_weight, Sequence) else [pos_weight]:
            if number is not None:
                check_number("pos_weight", number, gt=0)
        super().__init__(
            smoothing=smoothing,
            target_threshold=target_threshold,
            sum_classes=sum_classes,
            pos_weight=None if pos_weight is None else torch.tensor(pos_weight),
            smooth_dense=smooth_dense,
        )


class Focal(nn.Module):
    """Focal loss (Lin et al., 2017) over a softmax: the mean of `-(1 - p)^gamma log p`, with p of the target's class.

    With soft targets it is the sum over the classes, weighted by them. With `gamma` 0 it is the cross-entropy.

    Args:
        gamma: at least 0; the larger, the less a sample counts that the model already gets right.
        weight: as in `CrossEntropy`; the paper's alpha.
        class_counts: as in `CrossEntropy`.
    """

    weight: Tensor | None

    def __init__(self, *, gamma: float = 2.0, weight: Weight = None, class_counts: Tensor | None = None) -> None:
        super().__init__()
        check_number("gamma", gamma, ge=0)
        self.gamma = gamma
        self.register_buffer("weight", class_weights(weight, class_counts))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        log_p = functional.log_softmax(logits, dim=1)
        # The bound keeps the gradient of a power below 1 finite where p is 1.
        terms = -((-torch.expm1(log_p)).clamp_min(1e-12) ** self.gamma) * log_p
        if self.weight is not None:
            terms = terms * self.weight
        sums = terms.gather(1, target.view(-1, 1)) if target.ndim == 1 else terms * target
        return sums.sum() / self.total_weight(target)

    def total_weight(self, target: Tensor) -> Tensor | int:
        """Return what the mean over a batch of this target is divided by."""
        return _total_weight(self.weight, target)


def class_weights(weight: Weight, class_counts: Tensor | None) -> Tensor | None:
    """Return the weight of each class, None for equal ones; a class without samples has 0."""
    if weight is None:
        return None
    if isinstance(weight, str):
        if weight != "balanced":
            raise ParameterError("weight", weight, "null, balanced, or a list with one weight per class")
        if class_counts is None:
            raise ParameterError("weight", weight, "null or a list: these data do not tell their class counts")
        counts = class_counts.double().cpu()
        return torch.where(counts > 0, counts.sum() / (len(counts) * counts.clamp_min(1)), 0.0).float()
    for value in weight:
        check_number("weight", value, ge=0, le=torch.finfo(torch.float32).max)
    return torch.tensor(weight, dtype=torch.float32)


def _total_weight(weight: Tensor | None, target: Tensor) -> Tensor | int:
    return len(target) if weight is None or target.ndim > 1 else weight[target].sum()
