"""Annotations are told in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest
import torch

from hookline.config.hints import in_words


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (bool, "true or false"),
        (float | torch.Tensor, "a number"),
        (str | None, "a text or null"),
        (tuple[float, float], "a list of 2 numbers"),
        (tuple[int, ...], "a list of integers"),
        (tuple[float | None, float], "a list: a number or null, a number"),
        (int | Sequence[int], "an integer or a list of integers"),
        (list[list[str]], "a list, each a list of texts"),
        (list, "a list"),
        (Mapping[str, Any], "a mapping"),
        (Literal["a", True], "one of a, true"),
        (torch.nn.Module, "of type Module"),
    ],
)
def test_words(hint, words):
    assert in_words(hint) == words
