"""What an engine costs per iteration: hookline, MMEngine, Lightning and Ignite against a hand-written loop.

All of them train the same linear model on the same tiny batches, held in a list, with SGD and momentum, on one thread
of one process, and take turns of 250 iterations. So little is computed that what remains is the engine.

    bare       zero_grad, forward, cross_entropy, backward, step; nothing else
    lean       the same, but the gradients set to None by hand: what `zero_grad` takes beyond that is the profiler's
               record. hookline does it like this
    hookline   the runner with every hook and logger of conf/train.yaml, TensorBoard every 50 iterations: cosine LR set
               each iteration, loss and timing summed each iteration, text line to a log file every 50, LR chart.
               Evaluation, checkpoint, CSV and chart happen once, after the timed iterations
    mmengine   Runner with its runtime, timer, scheduler (cosine, each iteration) and logger hooks (text and
               TensorBoard every 50); no checkpoint
    lightning  Trainer with cosine LR each iteration, self.log of the loss, a callback that takes the time,
               LearningRateMonitor, TensorBoard every 50; no progress bar, no checkpoint
    ignite     Engine with CosineAnnealingScheduler, Timer and running average of the loss each iteration, TensorBoard
               every 50; no progress bar

A framework that is not installed is left out. The time is that of `--iterations` iterations in the middle of an epoch,
measured at the batches (see `scripts/benchmarks/_turns.py`), the same way for all; a round is one such turn of each.
"over bare" is the median over the rounds of the difference to the bare loop in the same round, with its quartiles.
"quiet" is what a tenth of the turns stay below: whatever else goes on in a machine only makes turns slower, so this
holds where the median does not.

Needs an idle machine; where it is not, `--clock cpu` counts the process's CPU time instead.

With --update the loops do more: `clip` clips the norm of the gradients (hookline logs it, too), `ema` keeps timm's
ModelEmaV3 of the weights. Each is compared with the hand-written loop that does the same.
"""

from __future__ import annotations

import argparse
import io
import itertools
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _common import (
    CLOCKS,
    PassLoader,
    machine,
    positive,
    report,
    spread,
    table,
    train_with_hookline,
)
from _turns import TurnPass, take_turns
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

FEATURES, CLASSES, BATCH = 32, 10, 8
LR, MOMENTUM = 0.01, 0.9
INTERVAL = 50
CLIP, DECAY = 1.0, 0.999
WARM = 50  # iterations of a turn before those that are timed

Contestant = Callable[[TurnPass, Path], None]


def make_batches() -> list[tuple[Tensor, Tensor]]:
    """Return the batches that all contestants loop over."""
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(BATCH, FEATURES, generator=generator), torch.randint(CLASSES, (BATCH,), generator=generator))
        for _ in range(64)
    ]


def make_model() -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return the model and its optimizer, both new."""
    torch.manual_seed(0)
    model = nn.Linear(FEATURES, CLASSES)
    return model, torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)


def bare(batches: TurnPass, folder: Path) -> None:
    """Train by hand."""
    model, optimizer = make_model()
    for images, labels in batches:
        optimizer.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()


def lean(batches: TurnPass, folder: Path) -> None:
    """Train by hand, and clear the gradients by hand."""
    model, optimizer = make_model()
    parameters = list(model.parameters())
    for images, labels in batches:
        for parameter in parameters:
            parameter.grad = None
        loss = cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, batches: TurnPass, folder: Path, *overrides: str) -> None:
    """Train with hookline's runner and its default hooks, changed by overrides."""
    val_loader = PassLoader(make_batches()[:1])
    train_with_hookline(
        model, optimizer, PassLoader(batches), val_loader, folder, f"logger.interval={INTERVAL}", *overrides
    )


def hookline(batches: TurnPass, folder: Path) -> None:
    """Train with hookline's runner and its default hooks."""
    model, optimizer = make_model()
    train(model, optimizer, batches, folder)


def bare_clip(batches: TurnPass, folder: Path) -> None:
    """Train by hand, and clip the norm of the gradients."""
    model, optimizer = make_model()
    parameters = list(model.parameters())
    for images, labels in batches:
        optimizer.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        clip_grad_norm_(parameters, CLIP)
        optimizer.step()


def hookline_clip(batches: TurnPass, folder: Path) -> None:
    """Train with hookline, clip, and log the norm."""
    model, optimizer = make_model()
    train(model, optimizer, batches, folder, f"update.grad_clip.max_norm={CLIP}")


def bare_ema(batches: TurnPass, folder: Path) -> None:
    """Train by hand, and average the weights with timm's ModelEmaV3."""
    model, optimizer = make_model()
    average = ModelEmaV3(model, decay=DECAY)
    for step, (images, labels) in enumerate(batches):
        optimizer.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        average.update(model, step=step)


def hookline_ema(batches: TurnPass, folder: Path) -> None:
    """Train with hookline, and average the weights."""
    model, optimizer = make_model()
    train(model, optimizer, batches, folder, "hooks=ema", f"hooks.ema.decay={DECAY}")


def mmengine_loop() -> Contestant:
    """Return the loop of MMEngine, if it can be imported."""
    from mmengine.model import BaseModel
    from mmengine.optim import CosineAnnealingLR, OptimWrapper
    from mmengine.runner import Runner as MMRunner

    class Model(BaseModel):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Tensor, labels: Tensor, mode: str = "tensor") -> Any:
            logits = self.model(images)
            return {"loss": cross_entropy(logits, labels)} if mode == "loss" else logits

    def run(batches: TurnPass, folder: Path) -> None:
        model, optimizer = make_model()
        batches.dataset = None  # type: ignore[attr-defined]  # its loop asks every loader for one
        name = f"engine_{time.time_ns()}"
        runner = MMRunner(
            model=Model(model),
            work_dir=str(folder),
            train_dataloader=batches,
            train_cfg={"by_epoch": True, "max_epochs": 1},
            optim_wrapper=OptimWrapper(optimizer),
            param_scheduler=[CosineAnnealingLR(optimizer, T_max=len(batches), by_epoch=False)],
            default_hooks={
                "logger": {"type": "LoggerHook", "interval": INTERVAL},
                "checkpoint": None,
                "sampler_seed": None,
            },
            visualizer={"type": "Visualizer", "name": name, "vis_backends": [{"type": "TensorboardVisBackend"}]},
            experiment_name=name,
        )
        runner.train()
        runner.visualizer.close()

    return run


def lightning_loop() -> Contestant:
    """Return the loop of Lightning, if it can be imported."""
    import lightning
    from lightning.pytorch.callbacks import LearningRateMonitor
    from lightning.pytorch.loggers import TensorBoardLogger

    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self, length: int) -> None:
            super().__init__()
            self.model, self.optimizer = make_model()
            self.length = length

        def training_step(self, batch: Any, index: int) -> Tensor:
            images, labels = batch
            loss = cross_entropy(self.model(images), labels)
            self.log("train/loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=self.length)
            return {"optimizer": self.optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    class Timing(lightning.Callback):
        last = seconds = 0.0

        def on_train_start(self, trainer: Any, module: Any) -> None:
            self.last = time.perf_counter()

        def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
            now = time.perf_counter()
            self.seconds += now - self.last
            self.last = now
            if trainer.global_step % INTERVAL == 0:
                trainer.logger.log_metrics({"time/iter": self.seconds / INTERVAL}, step=trainer.global_step)
                self.seconds = 0.0

    def run(batches: TurnPass, folder: Path) -> None:
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=1,
            logger=TensorBoardLogger(str(folder)),
            log_every_n_steps=INTERVAL,
            callbacks=[LearningRateMonitor("step"), Timing()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Module(len(batches)), batches)

    return run


def ignite_loop() -> Contestant:
    """Return the loop of Ignite, if it can be imported."""
    from ignite.engine import Engine, Events
    from ignite.handlers import CosineAnnealingScheduler, Timer
    from ignite.handlers.tensorboard_logger import TensorboardLogger
    from ignite.metrics import RunningAverage

    def run(batches: TurnPass, folder: Path) -> None:
        model, optimizer = make_model()

        def update(engine: Any, batch: Any) -> float:
            images, labels = batch
            optimizer.zero_grad()
            loss = cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            return loss.item()

        trainer = Engine(update)
        schedule = CosineAnnealingScheduler(optimizer, "lr", LR, 0.0, cycle_size=len(batches))
        trainer.add_event_handler(Events.ITERATION_STARTED, schedule)
        RunningAverage(output_transform=float).attach(trainer, "loss")
        timer = Timer(average=True)
        timer.attach(
            trainer,
            start=Events.EPOCH_STARTED,
            resume=Events.ITERATION_STARTED,
            pause=Events.ITERATION_COMPLETED,
            step=Events.ITERATION_COMPLETED,
        )
        every = Events.ITERATION_COMPLETED(every=INTERVAL)
        logger = TensorboardLogger(log_dir=str(folder))
        logger.attach_output_handler(trainer, every, tag="train", metric_names=["loss"])
        logger.attach_opt_params_handler(trainer, every, optimizer=optimizer)
        trainer.add_event_handler(
            every, lambda engine: logger.writer.add_scalar("time/iter", timer.value(), engine.state.iteration)
        )
        trainer.run(batches, max_epochs=1, epoch_length=len(batches))
        logger.close()

    return run


PEERS: dict[str, Callable[[], Contestant]] = {
    "mmengine": mmengine_loop,
    "lightning": lightning_loop,
    "ignite": ignite_loop,
}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what the frameworks tell the screen from the screen."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def fastest(values: list[float]) -> float:
    """Return what a tenth of the values stay below."""
    return sorted(values)[len(values) // 10]


def in_folder(contestant: Contestant) -> Callable[[TurnPass], None]:
    """Return the contestant as a loop that writes into a folder of its own."""

    def loop(batches: TurnPass) -> None:
        with tempfile.TemporaryDirectory() as folder:
            contestant(batches, Path(folder))

    return loop


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=200, help="rounds, each with a turn of all (default 200)")
    parser.add_argument("--iterations", type=positive, default=200, help="timed iterations of a turn (default 200)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="time or the process's CPU time (default wall)")
    parser.add_argument("--only", nargs="*", choices=PEERS, help="which frameworks to compare with (default all)")
    parser.add_argument(
        "--update", action="store_true", help="no frameworks, but clipping with its norm logged, and averaged weights"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    args = parser.parse_args()

    torch.set_num_threads(1)
    found = machine()
    contestants: dict[str, Contestant] = {"bare": bare, "lean": lean, "hookline": hookline}
    if args.update:
        contestants |= {"bare, clip": bare_clip, "hookline, clip": hookline_clip}
        contestants |= {"bare, ema": bare_ema, "hookline, ema": hookline_ema}
    peers = [] if args.update else PEERS if args.only is None else args.only
    for name in peers:
        try:
            with quiet():
                contestants[name] = PEERS[name]()
        except ImportError as error:
            print(f"{name}: left out, it cannot be imported ({error})")
    batches = make_batches()
    make_pass = partial(
        TurnPass,
        itertools.cycle(batches),
        turns=args.rounds + 1,
        timed=args.iterations,
        skip=WARM,
        clock=CLOCKS[args.clock],
    )
    with quiet():
        measured = take_turns({name: in_folder(contestant) for name, contestant in contestants.items()}, make_pass)

    micro = {name: [1e6 * seconds for seconds in values] for name, values in measured.items()}
    rows, numbers = [], {}
    for name, values in micro.items():
        kind, _, extra = name.partition(", ")
        base = micro[f"bare, {extra}" if extra else "bare"]  # the loop that does the same
        over = spread([own - other for own, other in zip(values, base, strict=True)])
        numbers[name] = {
            "us_per_iteration": spread(values)._asdict(),
            "over_bare_us": over._asdict(),
            "quiet_us_per_iteration": fastest(values),
            "over_bare_quiet_us": fastest(values) - fastest(base),
        }
        shown = [f"{over.median:+.1f} ({over.low:+.1f} to {over.high:+.1f})", f"{fastest(values) - fastest(base):+.1f}"]
        if kind == "bare":
            shown = ["", ""]
        rows.append([name, f"{spread(values).median:.1f}", shown[0], f"{fastest(values):.1f}", shown[1]])
    report(
        f"Engine cost: nn.Linear({FEATURES}, {CLASSES}), batches of {BATCH}, {args.rounds} rounds of "
        f"{args.iterations:,} iterations, {args.clock} clock",
        found,
        table(["", "us/iteration", "over bare (quartiles)", "quiet", "over bare"], rows),
        {"rounds": args.rounds, "iterations": args.iterations, "clock": args.clock, "engines": numbers},
        args.json,
    )


if __name__ == "__main__":
    main()
