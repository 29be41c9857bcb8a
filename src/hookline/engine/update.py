"""One update of the weights: forward, loss, backward, clipping, step."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from timm.utils.agc import adaptive_clip_grad
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_, get_total_norm

from hookline.config.checks import check_bool, check_number
from hookline.config.errors import ParameterError, did_you_mean
from hookline.data.batch import Batch
from hookline.engine.alone import Alone, total_weight
from hookline.engine.forward import PRECISIONS, Forward
from hookline.optim.freeze import Freeze
from hookline.optim.gradients import clearing
from hookline.optim.parameter_names import head_names, in_modules
from hookline.optim.shards import whole

log = logging.getLogger(__name__)

Outputs = dict[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
BeforeBackward = Callable[[Outputs, Batch], None]
CLIPS = ("max_norm", "value", "agc")
DEFAULT_NORM = 2.0

# YAML spells it .inf, Hydra's command line inf; either one gets the other's spelling as text.
INFINITE = (math.inf, "inf", ".inf")


class Update:
    """What one batch does to the weights.

    This is the one place that runs forward, loss, backward, clipping and the optimizer's step, in micro-batches or not,
    with a gradient scaler or without. Hooks act before it, after it and, in `before_backward`, on the loss; the effect
    of a hook is the same whatever the options. Another rule is another class: `update._target_=my_module.MyUpdate`,
    with this one as its base.

    Under fp16 the loss is scaled, and an update whose gradients are not finite is skipped (see
    `torch.amp.GradScaler`).

    Args:
        forward: the model's forward pass.
        loss: maps logits `[B, classes]` and targets to a scalar, the mean over the batch. One that divides by something
            else than the number of samples, such as class weights, says by what in a method `total_weight(targets)`;
            one with `reduction == "sum"` is understood.
        optimizer: over the model's parameters.
        freeze: what stays frozen, and for how long; None for nothing.
        grad_clip: how gradients are clipped: `max_norm` bounds the norm of all gradients together (the
            `norm_type`-norm), `value` the size of each number, `agc` each unit's norm by that factor of its weights'
            norm (Brock et al., 2021, https://arxiv.org/abs/2102.06171; all but the classifier). At most one of them.
        micro_batches: run each batch in so many parts, one after the other, to save memory. The gradient is the whole
            batch's, but for what a model computes over a batch (batch norm sees the parts) or draws (dropout draws for
            each part).
        log_grad_norm: give the gradients' norm without clipping too.
        skip_nonfinite: leave out an update whose gradients are not finite, as fp16 always does. Optimizers without a
            fused kernel wait for the device to see it.
        parallel: how several processes share an update; None for one process.
    """

    def __init__(
        self,
        *,
        forward: Forward,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        freeze: Freeze | None = None,
        grad_clip: Mapping[str, float | None] | None = None,
        micro_batches: int = 1,
        log_grad_norm: bool = False,
        skip_nonfinite: bool = False,
        parallel: Alone | None = None,
    ) -> None:
        check_number("micro_batches", micro_batches, gt=0, integer=True)
        check_bool("log_grad_norm", log_grad_norm)
        self.forward = forward
        self.model = forward.model
        self.device = forward.device
        self.loss = loss
        self.optimizer = optimizer
        self.freeze = freeze
        self.norm_type, self.clip = _parse_clip(grad_clip or {})
        self.micro_batches = micro_batches
        check_bool("skip_nonfinite", skip_nonfinite)
        self._fp16 = PRECISIONS[forward.precision] is torch.float16
        # A scaler is what skips steps; without fp16 its scale stays 1.
        self.scaler = torch.amp.GradScaler(
            self.device.type, init_scale=2.0**16 if self._fp16 else 1.0, enabled=self._fp16 or skip_nonfinite
        )
        # The norm also tells, without waiting for the device, whether the step is skipped.
        self.measures = log_grad_norm or self.clip is not None or self.scaler.is_enabled()
        if self.norm_type != DEFAULT_NORM and not self.measures:
            expected = f"{DEFAULT_NORM} where no norm is clipped or logged"
            raise ParameterError("grad_clip.norm_type", self.norm_type, expected)
        self.parallel = parallel or Alone()
        self.parallel.check(optimizer, self.clip, self.norm_type)
        self._forward = forward
        self._at_once = micro_batches == 1 and self.parallel.processes.count == 1
        self._clear_gradients = clearing(optimizer)
        self._summed = summed(loss)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold of this rule beyond model, optimizer and scaler."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave."""

    @property
    def has_state(self) -> bool:
        """Whether the rule has anything of its own for a checkpoint."""
        return type(self).state_dict is not Update.state_dict

    def begin_epoch(self, epoch: int) -> None:
        """Put the model into training mode, with what is frozen in this epoch as it has to be."""
        self.model.train()
        if self.freeze is not None:
            self.freeze.apply(self.model, epoch)
        self._forward = self.parallel.training(self.forward)

    def __call__(self, batch: Batch, before_backward: BeforeBackward | None = None) -> Outputs:
        """Update the weights by a batch.

        Args:
            batch: on the model's device; of several processes, this one's share.
            before_backward: called with the `loss` and `logits` of each micro-batch, which it may replace, and with the
                micro-batch.

        Returns:
            `loss`, the mean over the batch, and `logits`, whose graph is used up; where it is measured `grad_norm`, the
            norm of the gradients before clipping; under fp16 `skipped`, whether the step was skipped. Every scalar is
            averaged into the run's numbers as `train/<name>`. Of several processes, all have the same scalars and each
            the logits of its share.
        """
        outputs = self.gradients(batch, before_backward)
        if self.measures:
            self.scaler.unscale_(self.optimizer)
            outputs["grad_norm"] = whole(self._clip())
            if self.scaler.is_enabled():
                outputs["skipped"] = outputs["grad_norm"].isfinite().logical_not()
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update(None if self._fp16 else 1.0)
        else:
            self.optimizer.step()
        return outputs

    def gradients(self, batch: Batch, before_backward: BeforeBackward | None = None) -> Outputs:
        """Compute the gradients of the whole batch's loss, whatever the micro-batches and the processes.

        Args:
            batch: see `__call__`.
            before_backward: see `__call__`.

        Returns:
            `loss` and `logits`, as `__call__` does. Under fp16 the gradients are scaled.
        """
        self._clear_gradients()
        if self._at_once:
            return self._backward(batch, before_backward)
        return self._accumulate(batch, before_backward)

    def _accumulate(self, batch: Batch, before_backward: BeforeBackward | None) -> Outputs:
        parallel = self.parallel
        total = parallel.total_weight(self.loss, batch)
        sums: dict[str, Tensor] = {}
        shares: dict[str, float] = {}
        others: dict[str, list[Tensor]] = {}
        # Micro-batches count by their samples, so that a hook's own loss does too.
        parts = parallel.parts(batch, self.micro_batches)
        for number, (part, share) in enumerate(parts, 1):
            with parallel.reducing(last=number == len(parts)):
                outputs = self._backward(part, before_backward, share, total) if share else self._nothing(part)
            for name, value in outputs.items():
                value = torch.as_tensor(value).detach()
                if value.ndim:
                    others.setdefault(name, []).append(value)
                else:
                    sums[name] = sums.get(name, 0.0) + value * share
                    shares[name] = shares.get(name, 0.0) + share
        parallel.agree(self.model)
        return parallel.means(sums, shares, batch) | {name: torch.cat(values) for name, values in others.items()}

    def _backward(
        self,
        batch: Batch,
        before_backward: BeforeBackward | None,
        share: float | None = None,
        total: float | Tensor = 1.0,
    ) -> Outputs:
        logits = self._forward(batch.images)
        loss = self.loss(logits, batch.targets) if share is None else self._part_of(total, share, logits, batch.targets)
        outputs = {"loss": loss, "logits": logits}
        if before_backward is not None:
            before_backward(outputs, batch)
        loss = outputs["loss"]
        self.scaler.scale(loss if share is None else loss * (share * self.parallel.factor)).backward()
        return outputs

    def _nothing(self, part: Batch) -> Outputs:
        """Take part in what all processes do together, with samples that do not count."""
        logits = self._forward(part.images)
        loss = logits.sum() * 0.0
        loss.backward()
        return {"loss": loss, "logits": logits}

    def _part_of(self, total: float | Tensor, share: float, logits: Tensor, targets: Tensor) -> Tensor:
        """Return a micro-batch's loss, so that the mean over the micro-batches by their shares is the batch's loss.

        A loss that divides by something else than the number of samples is multiplied by what makes up for that; where
        the factor is 0, so are the loss and its gradient.
        """
        if self._summed is not None:
            return self._summed(logits, targets) / total / share
        factor = total_weight(self.loss, targets) / total / share
        if not isinstance(factor, Tensor):
            return self.loss(logits, targets) * factor
        # The mean over samples without weight is 0 / 0, and 0 times that would not be 0.
        counts = factor > 0
        logits = logits.view_as(logits)
        logits.register_hook(lambda gradient: gradient.where(counts, 0.0))
        return (self.loss(logits, targets) * factor).where(counts, 0.0)

    def _clip(self) -> Tensor:
        """Clip the gradients, and return their norm before."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        kind, bound = self.clip or (None, 0.0)
        if kind == "max_norm":
            return clip_grad_norm_(parameters, bound, self.norm_type)
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None], self.norm_type)
        if kind == "value":
            clip_grad_value_(parameters, bound)
        elif kind == "agc":
            head = head_names(self.model)
            trained = {id(p) for p in parameters}
            body = [p for n, p in self.model.named_parameters() if id(p) in trained and not in_modules(n, head)]
            adaptive_clip_grad(body, bound, norm_type=self.norm_type)
        return norm


def summed(loss: Any) -> Loss | None:
    """Return a cross-entropy that sums where the given one takes the mean; None for any other loss.

    A part of a batch whose labels all weigh nothing has no mean, but with label smoothing it has a sum.
    """
    if not isinstance(loss, nn.CrossEntropyLoss) or type(loss).forward is not nn.CrossEntropyLoss.forward:
        return None
    if loss.reduction != "mean":
        return None
    found = copy.copy(loss)
    found.reduction = "sum"
    return found


def _parse_clip(given: Mapping[str, float | None]) -> tuple[float, tuple[str, float] | None]:
    known = (*CLIPS, "norm_type")
    for name, value in given.items():
        if name not in known:
            near = did_you_mean(name, known)
            raise ParameterError(f"grad_clip.{name}", value, f"left out: there is {', '.join(known)}.{near}")
        if value is not None and not (name == "norm_type" and value in INFINITE):
            check_number(f"grad_clip.{name}", value, gt=0)
    clips = [(name, value) for name in CLIPS if (value := given.get(name)) is not None]
    if len(clips) > 1:
        raise ParameterError(f"grad_clip.{clips[1][0]}", clips[1][1], f"null where {clips[0][0]} is given")
    norm_type = given.get("norm_type")
    return math.inf if norm_type in INFINITE else norm_type or DEFAULT_NORM, clips[0] if clips else None
