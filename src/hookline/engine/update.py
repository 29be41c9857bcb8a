"""Backward and the optimizer's step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from timm.utils.agc import adaptive_clip_grad
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_, get_total_norm

from hookline.config.checks import check_bool, check_number
from hookline.config.errors import ParameterError, did_you_mean
from hookline.engine import Runner, Window
from hookline.engine.hook import Hook, Priority
from hookline.optim.gradients import clearing
from hookline.optim.parameter_names import head_names, in_modules

log = logging.getLogger(__name__)

CLIPS = ("max_norm", "value", "agc")


class OptimizerHook(Hook):
    """Clear the gradients, run backward on `runner.outputs["loss"]`, clip, and update the weights.

    Under fp16 the loss is scaled first, and an update with infinite gradients is skipped (see `torch.amp.GradScaler`);
    `train/skipped_steps` counts those. Where gradients are clipped, `train/grad_norm` is the norm before.

    Args:
        grad_clip: how: `max_norm` bounds the norm of all gradients together (the `norm_type`-norm), `value` the size of
            each number, `agc` each unit's norm by that factor of its weights' norm (Brock et al., 2021; all but the
            classifier). At most one of the three.
        micro_batches: run each batch in so many parts, one after the other, to save memory. The gradient is the whole
            batch's, but for what a model computes over a batch: batch norm sees the parts.
        log_grad_norm: log the norm without clipping too.
        detect_unused: after the first epoch warn of parameters that never got a gradient.
    """

    priority = Priority.ABOVE_NORMAL

    def __init__(
        self,
        grad_clip: Mapping[str, float | None] | None = None,
        micro_batches: int = 1,
        log_grad_norm: bool = False,
        detect_unused: bool = False,
    ) -> None:
        check_number("micro_batches", micro_batches, gt=0, integer=True)
        check_bool("log_grad_norm", log_grad_norm)
        check_bool("detect_unused", detect_unused)
        self.norm_type, self.clip = _parse_clip(grad_clip or {})
        self.micro_batches = micro_batches
        self.measures = log_grad_norm or self.clip is not None
        self.detect_unused = detect_unused
        self._plain = False
        self._parameters: list[nn.Parameter] = []
        self._body: list[nn.Parameter] = []
        self._unused: dict[str, nn.Parameter] | None = None

    def before_run(self, runner: Runner) -> None:
        self._prepare(runner)
        self._clear_gradients = clearing(runner.optimizer)
        if self.micro_batches > 1:
            runner.step = partial(self.accumulate, runner)
        self._epoch = Window(runner.metrics)
        self._plain = not (runner.scaler.is_enabled() or self.measures or self.detect_unused or self.micro_batches > 1)

    def after_train_iter(self, runner: Runner) -> None:
        if self._plain:
            self._clear_gradients()
            runner.outputs["loss"].backward()
            runner.optimizer.step()
        else:
            self._update(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        if runner.scaler.is_enabled():
            skipped = self._epoch.sum("train/skipped_steps")
            self._epoch.advance("train/skipped_steps")
            if skipped:
                log.info("epoch %d: %d updates skipped, their gradients were not finite", runner.epoch + 1, skipped)
        if self.detect_unused and self._unused is not None:
            unused = [name for name, p in self._unused.items() if p.requires_grad]
            self._unused = None
            if unused:
                log.warning("parameters that never got a gradient: %s", ", ".join(unused))

    def accumulate(self, runner: Runner, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Return `loss` and `logits` of a batch, its gradient being computed part by part."""
        self._clear_gradients()
        images, labels = batch
        weigh = total_weight(runner.loss)
        total = weigh(labels)
        losses, logits = [], []
        for part in zip(images.tensor_split(self.micro_batches), labels.tensor_split(self.micro_batches), strict=True):
            if len(part[1]) == 0:
                continue
            outputs = runner.train_step(part)
            loss = outputs["loss"] * (weigh(part[1]) / total)
            runner.scaler.scale(loss).backward()
            losses.append(loss.detach())
            logits.append(outputs["logits"].detach())
        return {"loss": torch.stack(losses).sum(), "logits": torch.cat(logits)}

    def _prepare(self, runner: Runner) -> None:
        names = {id(p): name for name, p in runner.model.named_parameters()}
        self._parameters = [p for group in runner.optimizer.param_groups for p in group["params"]]
        head = head_names(runner.model)
        self._body = [p for p in self._parameters if not in_modules(names.get(id(p), ""), head)]
        self._unused = {names.get(id(p), "?"): p for p in self._parameters}

    def _update(self, runner: Runner) -> None:
        optimizer, scaler = runner.optimizer, runner.scaler
        if self.micro_batches == 1:
            self._clear_gradients()
            scaler.scale(runner.outputs["loss"]).backward()
        if self.detect_unused and self._unused:
            self._unused = {name: p for name, p in self._unused.items() if p.grad is None}
        if self.measures:
            scaler.unscale_(optimizer)
            norm = self._clip()
            if scaler.is_enabled():
                norm = norm.nan_to_num(0.0, 0.0, 0.0)
            runner.metrics.add("train/grad_norm", norm)
        scaler.step(optimizer)
        if scaler.is_enabled():
            # The scaler tells of it in public only by numbers that wait for the device.
            found = scaler._found_inf_per_device(optimizer).values()
            runner.metrics.tally("train/skipped_steps", torch.stack([f.reshape(()) for f in found]).amax())
            scaler.update()

    def _clip(self) -> Tensor:
        """Clip the gradients, and return their norm before."""
        if self.clip is not None and self.clip[0] == "max_norm":
            return clip_grad_norm_(self._parameters, self.clip[1], self.norm_type)
        norm = get_total_norm([p.grad for p in self._parameters if p.grad is not None], self.norm_type)
        if self.clip is not None:
            kind, bound = self.clip
            if kind == "value":
                clip_grad_value_(self._parameters, bound)
            else:
                adaptive_clip_grad(self._body, bound, norm_type=self.norm_type)
        return norm


def total_weight(loss: Any) -> Callable[[Tensor], Tensor | int]:
    """Return the function that tells by what a loss divides its sum over a batch; the number of samples for most."""
    return getattr(loss, "total_weight", len)


def _parse_clip(given: Mapping[str, float | None]) -> tuple[float, tuple[str, float] | None]:
    known = (*CLIPS, "norm_type")
    for name, value in given.items():
        if name not in known:
            near = did_you_mean(name, known)
            raise ParameterError(f"grad_clip.{name}", value, f"left out: there is {', '.join(known)}.{near}")
        if value is not None and not (name == "norm_type" and value == float("inf")):
            check_number(f"grad_clip.{name}", value, gt=0)
    clips = [(name, value) for name in CLIPS if (value := given.get(name)) is not None]
    if len(clips) > 1:
        raise ParameterError(f"grad_clip.{clips[1][0]}", clips[1][1], f"null where {clips[0][0]} is given")
    return given.get("norm_type") or 2.0, clips[0] if clips else None
