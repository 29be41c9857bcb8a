"""The loop. It moves the clock and calls hooks; everything else is a hook."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hookline.config.checks import check_bool, check_number
from hookline.config.errors import ParameterError
from hookline.data.loader import epoch_seed
from hookline.engine.device import PRECISIONS, autocast, resolve_device
from hookline.engine.hook import STAGES, Hook, Priority, calls_of, sort_hooks
from hookline.engine.sums import MetricBuffer
from hookline.schedules import Clock, Curve

Batch = tuple[Tensor, Tensor]
Outputs = dict[str, Tensor]


class Loader(Protocol):
    """Batches `(images, labels)` on the runner's device, and how many there are in an epoch."""

    def __iter__(self) -> Any: ...
    def __len__(self) -> int: ...


class Data(Protocol):
    """What the runner needs of a data set."""

    train_loader: Loader
    val_loader: Loader


class Runner:
    """Train a model epoch by epoch, calling hooks at the stages that `hookline.engine.hook` shows.

    Args:
        model: maps images `[B, C, H, W]` to logits `[B, classes]`.
        data: the training and validation loaders.
        loss: maps logits and labels to a scalar.
        optimizer: over the model's parameters.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; the data lies there already.
        precision: `fp32`, or mixed `bf16` or `fp16` (the latter with a gradient scaler).
        channels_last: keep images and convolutions in NHWC memory order.
        compile: run the model through `torch.compile`.
        max_epochs: length of the run in epochs,
        max_iters: or in iterations; exactly one of the two.
        seed: of what the model draws itself, such as dropout; set anew each epoch.
        work_dir: where hooks write files.
        config: the run's config as YAML, for checkpoints.

    Attributes:
        clock: the position in the run (`epoch`, `iter`) and its length.
        inner_iter: the iteration within the epoch.
        mode: `train` or `val`.
        val_name: what begins the names of a validation's numbers: `val`, unless others than the model's weights are
            evaluated.
        step: what makes `outputs` of a training batch: `train_step`, unless a hook has put its own in its place.
        batch: the batch at hand, `(images, labels)`.
        outputs: what came of it: `loss` (in training) and `logits`.
        metrics: sums of losses and times, and the latest epoch's numbers.
        history: one dict of numbers for each finished epoch.
        best: the best validation so far, or empty.
        schedules: by parameter-group field, the schedules that drive the optimizer.
        scaler: the gradient scaler; does nothing but with fp16.
        stop_training: set it to end the run after the current iteration.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        data: Data,
        loss: Callable[[Tensor, Tensor], Tensor],
        optimizer: torch.optim.Optimizer,
        device: str = "auto",
        precision: str = "fp32",
        channels_last: bool = False,
        compile: bool = False,
        max_epochs: int | None = None,
        max_iters: int | None = None,
        seed: int = 0,
        work_dir: Path | str = ".",
        config: str = "",
    ) -> None:
        if (max_epochs is None) == (max_iters is None):
            raise ParameterError("max_epochs", max_epochs, "given, or else max_iters, and not both")
        for name, value in (("max_epochs", max_epochs), ("max_iters", max_iters)):
            if value is not None:
                check_number(name, value, gt=0, integer=True)
        check_bool("channels_last", channels_last)
        check_bool("compile", compile)
        self.device = resolve_device(device)
        self.precision = precision
        self.autocast = autocast(self.device, precision)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=PRECISIONS[precision] is torch.float16)
        self.channels_last = channels_last
        self.model = model
        self.forward: Callable[[Tensor], Tensor] = torch.compile(model) if compile else model
        self.data = data
        self.loss = loss
        self.optimizer = optimizer
        self.seed = seed
        self.work_dir = Path(work_dir)
        self.config = config
        self.clock = Clock.for_run(len(data.train_loader), max_epochs=max_epochs, max_iters=max_iters)
        self.schedules: dict[str, Curve] = {}
        self.hooks: list[Hook] = []
        self._calls: dict[str, tuple[Callable[[Runner], None], ...]] = dict.fromkeys(STAGES, ())

        self._epoch_start = 0

        self.mode = "train"
        self.val_name = "val"
        self.step: Callable[[Batch], Outputs] = self.train_step
        self.batch: Any = None
        self.outputs: Outputs = {}
        self.metrics = MetricBuffer()
        self.history: list[dict[str, float]] = []
        self.best: dict[str, float] = {}
        self.stop_training = False

    @property
    def epoch(self) -> int:
        """The epoch, from 0."""
        return self.clock.epoch

    @property
    def iter(self) -> int:
        """The iteration since the start of the run, from 0."""
        return self.clock.iter

    @property
    def inner_iter(self) -> int:
        """The iteration within the epoch, from 0."""
        return self.clock.iter - self._epoch_start

    @property
    def max_epochs(self) -> int:
        """The run's length in epochs."""
        return self.clock.max_epochs

    @property
    def max_iters(self) -> int:
        """The run's length in iterations."""
        return self.clock.max_iters

    def register_hooks(self, hooks: Iterable[Hook]) -> None:
        """Add hooks; within a stage they are called by priority, and in the order given where it is equal."""
        self.hooks = sort_hooks([*self.hooks, *hooks])
        self._calls = {stage: calls_of(self.hooks, stage) for stage in STAGES}

    def describe_hooks(self) -> str:
        """Return a table of the hooks that each stage calls, in order."""
        lines = []
        for stage in STAGES:
            names = [
                f"{type(call.__self__).__name__} ({Priority.describe(call.__self__.priority)})"  # type: ignore[attr-defined]
                for call in self._calls[stage]
            ]
            if names:
                lines.append(f"  {stage:<19}{', '.join(names)}")
        return "\n".join(lines)

    def call(self, stage: str) -> None:
        """Call every hook that overrides `stage`."""
        for call in self._calls[stage]:
            call(self)

    def run(self) -> None:
        """Train from where the clock stands to the end."""
        self.call("before_run")
        while self.clock.iter < self.clock.max_iters and not self.stop_training:
            self.train_epoch()
        self.call("after_run")

    def train_epoch(self) -> None:
        """Run one training epoch, or what is left of the run if that is less."""
        clock, loader = self.clock, self.data.train_loader
        before, everyone = self._calls["before_train_iter"], self._calls["after_train_iter"]
        after = tuple(call for call in everyone if call.__self__.every == 1)  # type: ignore[attr-defined]
        intervals = {call.__self__.every for call in everyone} - {1}  # type: ignore[attr-defined]
        step, max_iters = self.step, clock.max_iters
        self.mode = "train"
        self.model.train()
        set_epoch(loader, clock.epoch)
        torch.manual_seed(epoch_seed(self.seed, clock.epoch))
        self.call("before_train_epoch")
        self._epoch_start = due = clock.iter
        for batch in loader:
            self.batch = batch
            for call in before:
                call(self)
            self.outputs = step(self.batch)
            if clock.iter < due:
                for call in after:
                    call(self)
                if self.stop_training:  # this was the last one, and nobody knew
                    for call in everyone:
                        if call not in after:
                            call(self)
            else:
                for call in everyone:
                    call(self)
                due = self._next_due(clock.iter, intervals)
            clock.iter += 1
            if clock.iter == max_iters or self.stop_training:
                break
        self.call("after_train_epoch")
        clock.epoch += 1

    def _next_due(self, iteration: int, intervals: Collection[int]) -> int:
        """Return the next iteration after which the hooks with these intervals are called."""
        due = self.clock.max_iters - 1
        for n in intervals:
            due = min(due, iteration + n - iteration % n, iteration + n - (iteration + 1) % n)
        return due

    def train_step(self, batch: Batch) -> Outputs:
        """Return `loss` and `logits` of a batch, with a graph for backward."""
        images, labels = batch
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        if self.precision == "fp32":  # to enter a context that does nothing costs more than to call a hook
            logits = self.forward(images)
            return {"loss": self.loss(logits, labels), "logits": logits}
        with self.autocast:
            logits = self.forward(images)
            return {"loss": self.loss(logits, labels), "logits": logits}

    @torch.inference_mode()
    def val_epoch(self, model: nn.Module | None = None, name: str = "val") -> None:
        """Run the model, or another in its place, over the whole validation set, in eval mode; `name`: `val_name`."""
        forward = self.forward if model is None else model.eval()
        mode, was_training = self.mode, self.model.training
        resting = [m for m in self.model.modules() if not m.training]
        self.mode, self.val_name = "val", name
        self.model.eval()
        self.call("before_val_epoch")
        for batch in self.data.val_loader:
            self.batch = batch
            self.call("before_val_iter")
            images = batch[0]
            if self.channels_last:
                images = images.contiguous(memory_format=torch.channels_last)
            with self.autocast:
                self.outputs = {"logits": forward(images)}
            self.call("after_val_iter")
        self.call("after_val_epoch")
        self.mode, self.val_name = mode, "val"
        self.model.train(was_training)
        for module in resting:  # such as frozen batch norms
            module.training = False

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the run as tensors, numbers, strings, lists and dicts."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epoch": self.clock.epoch,
            "iter": self.clock.iter,
            "history": self.history,
            "best": self.best,
            "hooks": {type(h).__name__: state for h in self.hooks if (state := h.state_dict())},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave at the end of an epoch; call it after the hooks are registered, before `run`.

        The run that follows is the one that would have followed there: every epoch's randomness is a function of the
        seed and the epoch, and every schedule one of the clock.
        """
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.clock.epoch, self.clock.iter = state["epoch"], state["iter"]
        self.history[:] = [dict(row) for row in state["history"]]
        self.best = dict(state["best"])
        for hook in self.hooks:
            hook.load_state_dict(state["hooks"].get(type(hook).__name__, {}))


def set_epoch(loader: Loader, epoch: int) -> None:
    """Tell the loader, or its sampler, which epoch comes, if it wants to know."""
    for part in (loader, getattr(loader, "sampler", None)):
        choose = getattr(part, "set_epoch", None)
        if choose is not None:
            choose(epoch)
            return
