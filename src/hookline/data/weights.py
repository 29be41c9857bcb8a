"""How often each sample of a data set is to come."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hookline.config.errors import ParameterError, did_you_mean, reason_of
from hookline.data.source import Source

EXPECTED = "null, class_balanced, weights of the classes (a mapping by name, or a list), or a file with a line a sample"


def sample_weights(wanted: object, source: Source, pool: Tensor | None = None) -> Tensor:
    """Return a weight for each sample, float64 `[N]`.

    Args:
        wanted: `class_balanced`: each class comes equally often; a mapping from names of classes to weights, 1 for
            those that are not named; a list of weights in the order of the classes; or the path of a file with a number
            for each sample, a line each.
        source: the samples.
        pool: those of them that an epoch may visit, among which `class_balanced` balances; None: all.

    Raises:
        ParameterError: it is none of these.
    """
    weights = _weights_of(wanted, source, pool)
    total = float((weights if pool is None else weights[pool]).sum())
    if not 0 < total < math.inf:
        raise ParameterError("sampler", wanted, f"weights with a finite sum above 0 over the samples, not {total:g}")
    return weights


def _weights_of(wanted: object, source: Source, pool: Tensor | None) -> Tensor:
    if isinstance(wanted, str) and wanted != "class_balanced":
        return _numbers(wanted, _lines_of(wanted), len(source), "samples")
    classes = list(source.classes)
    if wanted == "class_balanced":
        targets = source.targets
        visited = targets if pool is None else targets[pool]
        # A class of which no sample is visited has no weight that would matter.
        return 1 / torch.bincount(visited, minlength=len(classes)).clamp(min=1).double()[targets]
    if isinstance(wanted, Mapping):
        given = {str(name): weight for name, weight in wanted.items()}
        for name in given.keys() - set(classes):
            raise ParameterError(
                "sampler", wanted, f"of the data's classes: {name!r} is none.{did_you_mean(name, classes)}"
            )
        return _numbers(wanted, [given.get(name, 1.0) for name in classes], len(classes), "classes")[source.targets]
    if isinstance(wanted, Sequence):
        return _numbers(wanted, wanted, len(classes), "classes")[source.targets]
    raise ParameterError("sampler", wanted, EXPECTED)


def _lines_of(name: str) -> list[object]:
    try:
        lines = Path(name).expanduser().read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError("sampler", name, f"{EXPECTED}; as a file it cannot be read: {reason_of(error)}") from error
    try:
        return [float(line) for line in lines]
    except ValueError as error:
        raise ParameterError("sampler", name, f"a file with a number in each line ({error})") from error


def _numbers(wanted: object, weights: Sequence[object], count: int, of: str) -> Tensor:
    if len(weights) != count:
        raise ParameterError("sampler", wanted, f"{count} weights, one for each of the {of}, not {len(weights)}")
    for weight in weights:
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not math.isfinite(weight) or weight < 0:  # type: ignore[arg-type, operator]
            raise ParameterError("sampler", wanted, f"weights of at least 0, and {weight!r} is none")
    return torch.tensor(weights, dtype=torch.float64)
