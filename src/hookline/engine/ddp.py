"""An update that several processes compute together, each with its share of the batch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hookline.config.checks import check_bool
from hookline.config.errors import ParameterError
from hookline.data.batch import Batch
from hookline.engine.alone import Alone, total_weight
from hookline.engine.forward import Forward
from hookline.engine.processes import Processes
from hookline.engine.sync_batchnorm import has_sync_batchnorm, with_sync_batchnorm

UNUSED_SHOWN = 5


class DataParallel(Alone):
    """Each process has the whole model and a share of the batch; gradients are summed while the backward pass runs.

    The sum is torch's DistributedDataParallel's (Li et al., 2020, https://arxiv.org/abs/2006.15704), made once an
    update, whatever the micro-batches. A process's loss counts by its samples, or by what the loss divides by, so that
    the gradient is that of the mean over the whole batch however unevenly it is shared.

    A batch norm sees its process's share, unless `sync_batchnorm` is set; the first process's buffers, such as the
    running statistics of batch norms, are everyone's after each update.

    Args:
        processes: which of how many processes this one is.
        sync_batchnorm: compute the statistics of batch norms over the batch of all processes; each batch norm then
            waits for all of them.
        find_unused_parameters: look in each update for parameters that get no gradient in it, which costs a walk
            through its graph. A model that has some cannot be trained without.
    """

    def __init__(
        self, *, processes: Processes, sync_batchnorm: bool = False, find_unused_parameters: bool = False
    ) -> None:
        check_bool("sync_batchnorm", sync_batchnorm)
        check_bool("find_unused_parameters", find_unused_parameters)
        self.processes = processes
        self.factor = processes.count
        self.sync_batchnorm = sync_batchnorm
        self.find_unused_parameters = find_unused_parameters
        self._synced = False
        self._trained: list[bool] | None = None
        self._wrapped: DistributedDataParallel | None = None
        self._forward: Forward | None = None

    def prepare(self, model: nn.Module) -> nn.Module:
        """Return the model, with batch norms over all processes if they are wanted."""
        model = with_sync_batchnorm(model) if self.sync_batchnorm else model
        self.in_step = self._synced = has_sync_batchnorm(model)
        return model

    def training(self, forward: Forward) -> Forward:
        """Return the forward pass whose backward pass reduces; made anew when other parameters are trained."""
        trained = [parameter.requires_grad for parameter in forward.model.parameters()]
        if self._forward is None or trained != self._trained:
            # The old one takes its hooks off the parameters when it goes.
            self._forward = self._wrapped = None
            self._forward, self._trained = forward.around(self._wrap), trained
        return self._forward

    def _wrap(self, model: nn.Module) -> nn.Module:
        with warnings.catch_warnings():  # of newer versions, which call the argument otherwise
            warnings.simplefilter("ignore", FutureWarning)
            self._wrapped = DistributedDataParallel(
                model, broadcast_buffers=False, find_unused_parameters=self.find_unused_parameters
            )
        self.agree(model)
        return self._wrapped

    def samples(self, batch: Batch) -> int:
        """Return the size of the whole batch."""
        if batch.whole is None:
            raise RuntimeError("the loader must say of how many samples each batch is a share (Batch.whole)")
        return batch.whole

    def as_small(self, batch: Batch, samples: int) -> Batch:
        """Return this process's share of a batch as small as the last of an epoch, out of that of a whole one."""
        part = self.processes.part(samples)
        small = batch.first(max(1, part.stop - part.start))
        small.whole = samples
        return small

    def parts(self, batch: Batch, count: int) -> list[tuple[Batch, float]]:
        """Return this process's micro-batches, each with its share of the whole batch's samples.

        Where a forward pass needs all processes, there are as many in each of them: an empty one is filled up with a
        sample that does not count, but not for batch norms over all processes, which would see it.
        """
        own, samples = self._own(batch), self.samples(batch)
        if not self.in_step:
            return [(part, len(part) / samples if own else 0.0) for part in batch.split(count)]
        largest = self.processes.part(samples, 0).stop
        found = batch.first(own).split(min(count, largest), keep_empty=True)
        filling = batch.first(0 if self._synced else 1)
        return [(part if len(part) else filling, len(part) / samples) for part in found]

    def total_weight(self, loss: Any, batch: Batch) -> float | Tensor:
        """Return what a loss divides its sum over the samples of the whole batch by."""
        own = total_weight(loss, batch.targets)
        if getattr(loss, "reduction", "mean") == "sum" and not hasattr(loss, "total_weight"):
            return own
        counted = torch.as_tensor(own, dtype=torch.float64) * bool(self._own(batch))
        found = self.processes.sum(counted)
        return found.to(own.dtype) if isinstance(own, Tensor) else float(found)

    def reducing(self, last: bool) -> AbstractContextManager[Any]:
        """Return the context of a micro-batch's forward and backward pass; the `last` one's reduces the gradients."""
        assert self._wrapped is not None
        return nullcontext() if last else self._wrapped.no_sync()

    def means(self, sums: Mapping[str, Tensor], shares: Mapping[str, float], batch: Batch) -> dict[str, Tensor]:
        """Return the means over the whole batch, the same in every process, by one reduction."""
        names = sorted(sums)
        if self.samples(batch) < self.processes.count:  # hooks were not called for an empty share
            names = self.processes.of_first(names)
        loss = sums["loss"]
        values = [torch.as_tensor(sums.get(name, 0.0), dtype=torch.float64, device=loss.device) for name in names]
        counts = torch.tensor([shares.get(name, 0.0) for name in names], dtype=torch.float64).to(loss.device)
        total, count = self.processes.sum(torch.cat([torch.stack(values), counts])).chunk(2)
        return dict(zip(names, (total / count).to(loss.dtype), strict=True))

    def agree(self, model: nn.Module) -> None:
        """Give the buffers the values that they have in the first process."""
        self.processes.copy_first(list(model.buffers()))

    def check_gradients(self, model: nn.Module) -> None:
        """Raise `ParameterError` where a parameter that is trained has got no gradient and this is not looked for."""
        unused = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        if unused and not self.find_unused_parameters:
            shown = ", ".join(unused[:UNUSED_SHOWN]) + (", ..." if len(unused) > UNUSED_SHOWN else "")
            raise ParameterError("find_unused_parameters", False, f"true: {shown} got no gradient")

    def _own(self, batch: Batch) -> int:
        """Return how many samples of the whole batch are this process's; the batch itself is never empty."""
        part = self.processes.part(self.samples(batch))
        return part.stop - part.start
