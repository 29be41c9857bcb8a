"""Tensors of which each process has a part."""

from __future__ import annotations

from torch import Tensor


def in_parts(given: Tensor) -> bool:
    """Say whether a tensor is one of which each process has a part (torch's DTensor)."""
    # Importing DTensor takes long, and who has none of them has not imported it.
    return hasattr(given, "full_tensor")


def laid_out_as(own: Tensor, given: Tensor) -> Tensor:
    """Return a whole tensor, which every process has, as this process's part of it where `own` is such a part.

    Args:
        own: the tensor whose layout it gets.
        given: the tensor; one of another shape than `own`'s, or one that is a part already, is returned as it is.
    """
    if not in_parts(own) or in_parts(given) or given.shape != own.shape:
        return given
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(own, DTensor)
    # Nothing is sent: each process cuts out its own.
    return distribute_tensor(given.to(own.device), own.device_mesh, own.placements, src_data_rank=None)


def whole(given: Tensor) -> Tensor:
    """Return the whole of a tensor of which each process may have a part; all of them have to call this then."""
    return given.full_tensor() if in_parts(given) else given  # type: ignore[attr-defined]
