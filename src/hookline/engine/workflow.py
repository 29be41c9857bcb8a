"""The phases of a run: epochs of training, and passes over the validation set between them."""

from __future__ import annotations

from collections.abc import Sequence

from hookline.config.errors import ParameterError

# More phases would be a slip; each of a workflow's is listed.
MOST = 1_000_000


def phases_of(workflow: Sequence[tuple[str, int]]) -> list[str]:
    """Return the phases of a workflow one by one: `[("train", 2), ("val", 1)]` is train, train, val.

    Raises:
        ParameterError: it is no list of pairs of `train` or `val` and a number above 0, or too long, or never trains.
    """
    pairs = "a list of pairs such as [[train, 2], [val, 1]] of train or val and a number above 0, with a train"
    expected = f"{pairs}; {MOST:,} epochs at most"
    phases: list[str] = []
    if not isinstance(workflow, Sequence) or isinstance(workflow, str):
        raise ParameterError("workflow", workflow, expected)
    for pair in workflow:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise ParameterError("workflow", workflow, expected)
        mode, epochs = pair
        if mode not in ("train", "val") or type(epochs) is not int or not 0 < epochs <= MOST - len(phases):
            raise ParameterError("workflow", workflow, expected)
        phases += [mode] * epochs
    if "train" not in phases:
        raise ParameterError("workflow", workflow, expected)
    return phases
