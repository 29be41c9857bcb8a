"""A running average of the weights, evaluated beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.utils import ModelEmaV3
from torch import nn

from hookline.config.checks import check_bool, check_number
from hookline.engine import Hook, Priority, Runner


class EMAHook(Hook):
    """Keep an exponential moving average of the weights and buffers (timm's ModelEmaV3).

    After each update that it takes part in, `ema = d * ema + (1 - d) * weights`. The evaluation hook evaluates it after
    the weights, and its numbers are `val_<name>/top1` and so on by the hook's name;
    `evaluation.monitor=val_ema/top1` lets the average `ema` decide which epoch is best.

    Args:
        decay: d, in [0, 1).
        warmup: let d begin low and rise to `decay` as `1 - (1 + n / warmup_gamma)^-warmup_power`, n being the update
        since the start. warmup_gamma: see above. warmup_power: see above; 2/3 for a million updates and more, 3/4 for
        fewer. interval: updates from one averaging to the next. start: updates before the first; until then the average
        is the weights. evaluate: evaluate the average.
    """

    priority = Priority.BELOW_NORMAL

    def __init__(
        self,
        decay: float = 0.999,
        warmup: bool = False,
        warmup_gamma: float = 1.0,
        warmup_power: float = 0.75,
        interval: int = 1,
        start: int = 0,
        evaluate: bool = True,
    ) -> None:
        check_number("decay", decay, ge=0, lt=1)
        check_bool("warmup", warmup)
        check_number("warmup_gamma", warmup_gamma, gt=0)
        check_number("warmup_power", warmup_power, gt=0)
        check_number("interval", interval, gt=0, integer=True)
        check_number("start", start, ge=0, integer=True)
        check_bool("evaluate", evaluate)
        self.decay = decay
        self.warmup = warmup
        self.warmup_gamma = warmup_gamma
        self.warmup_power = warmup_power
        self.interval = interval
        self.start = start
        self.evaluate = evaluate

    def before_run(self, runner: Runner) -> None:
        self._average = ModelEmaV3(
            runner.model,
            decay=self.decay,
            update_after_step=self.start,
            use_warmup=self.warmup,
            warmup_gamma=self.warmup_gamma,
            warmup_power=self.warmup_power,
            foreach=not runner.update.parallel.sharded,  # whose kernels take no buffers beside parts of parameters
        )
        if self.evaluate:
            runner.averages[self.name] = self.model

    @property
    def model(self) -> nn.Module:
        """The model with the averaged weights."""
        return self._average.module

    def after_train_iter(self, runner: Runner) -> None:
        done = runner.clock.iter + 1
        if done % self.interval == 0 or done <= self.start:
            # timm's count lets the first two updates copy the weights; one is enough.
            self._average.update(runner.model, step=done + 1)

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
