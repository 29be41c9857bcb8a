"""A batch and its parts."""

from __future__ import annotations

import pytest
import torch

from hookline.data import Batch


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 1, 1, 1, 1, 0, 0])])
@pytest.mark.parametrize(("parts", "sizes"), [(1, [7]), (2, [4, 3]), (3, [3, 2, 2]), (9, [1] * 7)])
def test_parts_are_of_nearly_equal_size_and_none_is_empty(parts, sizes, weights):
    batch = Batch(torch.rand(7, 1, 2, 2), torch.arange(7) % 2, torch.arange(10, 17), weights)
    pieces = batch.split(parts)
    assert [len(piece) for piece in pieces] == sizes
    for field in ("images", "targets", "indices", "weights"):
        values = [getattr(piece, field) for piece in pieces]
        if field == "weights" and weights is None:
            assert set(values) == {None}
        else:
            assert torch.equal(torch.cat(values), getattr(batch, field))
