"""Updates that leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import nn

from hookline.engine.device import Generators
from hookline.engine.update import Update
from hookline.models.unchanged import attributes_kept


@contextmanager
def unchanged(update: Update) -> Iterator[None]:
    """Put back at the end all that updates and forward passes inside may have changed.

    That is weights, buffers, gradients, what is frozen, each module's mode and attributes, the optimizer's state and
    groups, the scaler, the update's own state, and the random generators.
    """
    modules = [m for part in (update.model, update.loss) if isinstance(part, nn.Module) for m in part.modules()]
    optimizer, scaler, generators = update.optimizer, update.scaler, Generators(update.device)
    tensors = {id(t): t for m in modules for t in (*m.parameters(False), *m.buffers(False))}.values()
    values = [(t, t.detach().clone(), t.requires_grad, t.grad) for t in tensors]
    state = {p: deepcopy(kept) for p, kept in optimizer.state.items()}
    groups = [{key: deepcopy(value) for key, value in g.items() if key != "params"} for g in optimizer.param_groups]
    scaling, drawn, own = deepcopy(vars(scaler)), generators.state_dict(), deepcopy(update.state_dict())
    try:
        with attributes_kept((update, update.loss, optimizer, *modules)):
            yield
    finally:
        with torch.no_grad():
            for tensor, value, requires_grad, grad in values:
                tensor.requires_grad_(requires_grad).copy_(value)
                tensor.grad = grad
        optimizer.state.clear()
        optimizer.state.update(state)
        for group, before in zip(optimizer.param_groups, groups, strict=True):
            parameters = group["params"]
            group.clear()
            group.update(params=parameters, **before)
        vars(scaler).clear()
        vars(scaler).update(scaling)
        generators.load_state_dict(drawn)
        if update.has_state:
            update.load_state_dict(own)
