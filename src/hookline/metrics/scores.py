"""Numbers of a whole pass over labelled samples, by scikit-learn: the same in training and afterwards.

Shares are in percent, as accuracy is everywhere; `macro` means that each class that occurs counts alike.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hookline.config.checks import check_choice
from hookline.config.errors import ParameterError
from hookline.metrics.mean import TopK
from hookline.metrics.metric import Labelled

# Bins of the confidence, as Guo et al. have them.
BINS = 15


@dataclass(frozen=True)
class Samples:
    """What a model says of samples, and their labels.

    Attributes:
        logits: float32 `[N, classes]`, on the CPU.
        targets: the labels, int64 `[N]`.
        indices: which samples of the source they are, int64 `[N]`.
    """

    logits: Tensor
    targets: Tensor
    indices: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.logits.shape[1]

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The softmax of the logits, float64 `[N, classes]`."""
        return self.logits.double().softmax(dim=1).numpy()

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels `[N]`."""
        return self.targets.numpy()

    @cached_property
    def predicted(self) -> np.ndarray:
        """The class with the largest logit `[N]`, as `TopK(1)` has it."""
        return self.logits.topk(1).indices[:, 0].numpy()

    @cached_property
    def losses(self) -> np.ndarray:
        """The cross-entropy of each sample in nats `[N]`."""
        return cross_entropy(self.logits, self.targets, reduction="none").double().numpy()

    @cached_property
    def confidence(self) -> np.ndarray:
        """The largest probability `[N]`."""
        return self.probabilities.max(axis=1)

    @cached_property
    def brier(self) -> np.ndarray:
        """The Brier score of each sample, `sum_c (p_c - y_c)^2` `[N]`, from 0 to 2 (Brier, 1950)."""
        own = self.probabilities[np.arange(len(self)), self.labels]
        return (self.probabilities**2).sum(axis=1) - 2 * own + 1

    @cached_property
    def bins(self) -> np.ndarray:
        """The bin of each sample's confidence, of `BINS` of equal width `[N]`."""
        return np.minimum((self.confidence * BINS).astype(int), BINS - 1)

    @cached_property
    def confusion(self) -> np.ndarray:
        """How often each class (row) is taken for each (column): int64 `[classes, classes]`."""
        from sklearn.metrics import confusion_matrix

        return confusion_matrix(self.labels, self.predicted, labels=range(self.classes))

    @cached_property
    def of_classes(self) -> dict[str, np.ndarray]:
        """`precision`, `recall`, `f1`, `support` and `ap` of each class; NaN where a class has nothing to go by.

        `ap` is the average precision, the sum over thresholds of precision times the rise in recall; `auroc` the area
        under the ROC curve. Each takes the class against all others. Shares are in percent.
        """
        from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

        precision, recall, f1, support = precision_recall_fscore_support(
            self.labels, self.predicted, labels=range(self.classes), zero_division=np.nan
        )
        ap, auroc = np.full(self.classes, np.nan), np.full(self.classes, np.nan)
        for label in np.unique(self.labels):
            own, shares = self.labels == label, self.probabilities[:, label]
            ap[label] = average_precision_score(own, shares)
            if not own.all():
                auroc[label] = roc_auc_score(own, shares)
        shares_of = {"precision": precision, "recall": recall, "f1": f1, "ap": ap, "auroc": auroc}
        return {"support": support} | {name: 100 * values for name, values in shares_of.items()}

    def top(self, k: int) -> np.ndarray:
        """Return 1 for each sample whose label is among its k largest logits, else 0 `[N]`."""
        return TopK(k).of_samples(self.logits, self.targets).numpy()

    def mean_of_classes(self, name: str) -> float:
        """Return the mean of a number over the classes that occur; a precision without predictions counts as 0."""
        occurring = self.of_classes["support"] > 0
        return float(np.nan_to_num(self.of_classes[name][occurring]).mean()) if occurring.any() else float("nan")


def ece(samples: Samples) -> float:
    """Return the expected calibration error in percent: `sum_b n_b/N |accuracy_b - confidence_b|` over the bins.

    Source: Guo et al., On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599.
    """
    gap = np.bincount(samples.bins, samples.top(1) - samples.confidence, minlength=BINS)
    return float(100 * np.abs(gap).sum() / len(samples))


def _mcc(samples: Samples) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(samples.labels, samples.predicted))


def _kappa(samples: Samples) -> float:
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(samples.labels, samples.predicted))


def _top(k: int) -> Callable[[Samples], float]:
    # As TopK sums up: exactly the number that training has.
    return lambda samples: 100 * (float(samples.top(k).astype(np.float64).sum()) / len(samples))


# The numbers that sum a model up, by name. All but `loss`, `ece` and `brier` are the better the larger they are.
NUMBERS: Mapping[str, Callable[[Samples], float]] = {
    "top1": _top(1),
    "top5": _top(5),
    "loss": lambda samples: float(samples.losses.mean()),
    "precision": lambda samples: samples.mean_of_classes("precision"),
    "recall": lambda samples: samples.mean_of_classes("recall"),
    "f1": lambda samples: samples.mean_of_classes("f1"),
    "map": lambda samples: samples.mean_of_classes("ap"),
    "auroc": lambda samples: samples.mean_of_classes("auroc"),
    "mcc": _mcc,
    "kappa": _kappa,
    "ece": ece,
    "brier_error": lambda samples: float(samples.brier.mean()),
}


class Outputs:
    """A metric that keeps what the model says of every sample, and measures nothing by itself."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._kept: list[tuple[Tensor, Tensor, Tensor]] = []

    def update(self, outputs: Mapping[str, Tensor], batch: Labelled) -> None:
        """Take in a batch; samples of weight 0 are left out."""
        indices = getattr(batch, "indices", batch.targets)
        parts = (outputs["logits"].detach().float(), batch.targets, indices)
        if batch.weights is not None:
            counted = batch.weights > 0
            parts = (parts[0][counted], parts[1][counted], parts[2][counted])
        self._kept.append(parts)

    def samples(self) -> Samples:
        """Return all samples so far."""
        logits, targets, indices = (torch.cat(list(part)).cpu() for part in zip(*self._kept, strict=True))
        return Samples(logits, targets, indices)

    def compute(self) -> dict[str, float]:
        """Return nothing."""
        return {}


class Scores(Outputs):
    """Numbers that need all samples together; all logits are kept until then, 4 bytes for each sample and class.

    Args:
        numbers: names out of `NUMBERS`: `precision`, `recall`, `f1`, `map` (mean average precision) and `auroc`, each
            the mean over classes in percent; `mcc` (Matthews), `kappa` (Cohen), `ece` in percent, `brier_error`, and
            `top1`, `top5` and `loss`.
    """

    def __init__(self, numbers: Sequence[str] = ("f1", "map", "ece")) -> None:
        super().__init__()
        if not numbers:
            raise ParameterError("numbers", list(numbers), "a list of names, such as [f1, map, ece]")
        for name in numbers:
            check_choice("numbers", name, list(NUMBERS))
        self.numbers = tuple(numbers)

    def compute(self) -> dict[str, float]:
        """Return the chosen numbers."""
        if not self._kept:
            return dict.fromkeys(self.numbers, float("nan"))
        return headline(self.samples(), self.numbers)


def headline(samples: Samples, numbers: Sequence[str] = tuple(NUMBERS)) -> dict[str, float]:
    """Return these numbers of samples."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class that nobody predicts, or one class alone: NaN or 0 says it
        return {name: NUMBERS[name](samples) for name in numbers}
