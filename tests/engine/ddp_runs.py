"""Runs of one or of several processes, on a few of the digits."""

from __future__ import annotations

import pickle
import random
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from hookline.checkpoint import read
from hookline.config.errors import ConfigError, ParameterError
from hookline.data import Batch, Digits, InMemoryLoader, InMemorySource, Normalize
from hookline.engine import Forward, Runner, Update
from hookline.engine.ddp import DataParallel
from hookline.engine.fsdp import ShardedDataParallel
from hookline.engine.processes import Processes
from hookline.engine.runner import Interrupted
from hookline.experiment import build_runner, compose_config
from hookline.experiment.data import build_source
from hookline.experiment.model import build_model
from hookline.hooks import Hook
from hookline.hooks.checkpoint import ShardedCheckpointHook
from hookline.hooks.ema import EMAHook
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.schedule import ScheduleHook
from hookline.hooks.train_metrics import TrainMetricsHook
from hookline.job import Job
from hookline.losses import CrossEntropy
from hookline.metrics import CrossEntropyLoss, TopK
from hookline.optim.freeze import Freeze
from hookline.optim.shards import whole
from hookline.schedules import Clock, Cosine

WEIGHT = [0.0, 3.0, 1.0, 0.5, 1.0, 1.0, 2.0, 1.0, 1.0, 0.1]


class FewDigits(InMemorySource):
    """The first so many digits."""

    channels, image_size = 1, (8, 8)
    classes = tuple("0123456789")

    def __init__(self, samples: int, split: str) -> None:
        super().__init__(split=split)
        self.samples = samples

    def load(self) -> tuple[Tensor, Tensor]:
        images, targets = Digits(split=self.split).load()
        return images[: self.samples], targets[: self.samples]


class Net(nn.Module):
    """A small network in the numbers' format of its weights, with a batch norm or without, and with blocks or none."""

    def __init__(self, norm: bool, blocks: int = 0, drop: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6) if norm else nn.Identity()
        layers = [nn.LayerNorm(54), nn.Linear(54, 54), nn.Dropout(drop)]
        self.blocks = nn.Sequential(*[nn.Sequential(*deepcopy(layers)) for _ in range(blocks)])
        self.fc = nn.Linear(54, 10)

    def forward(self, images: Tensor) -> Tensor:
        images = images.to(self.fc.weight.dtype)
        return self.fc(self.blocks(self.norm(self.conv(images)).relu().flatten(1)))


class Macro:
    """The mean accuracy of the classes, a metric that knows nothing of processes."""

    def reset(self) -> None:
        self.right: dict[int, list[bool]] = {}
        self.order: list[int] = []

    def update(self, outputs: Mapping[str, Tensor], batch: Any) -> None:
        assert batch.weights is None
        self.order += batch.indices.tolist()
        for target, guess in zip(batch.targets.tolist(), outputs["logits"].argmax(1).tolist(), strict=True):
            self.right.setdefault(target, []).append(target == guess)

    def compute(self) -> dict[str, float]:
        assert self.order == list(range(len(self.order)))
        shares = [sum(right) / len(right) for right in self.right.values()]
        return {"macro": sum(shares) / len(shares), "samples": float(len(self.order))}


LOSSES = {
    "mean": lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
    "weighted": lambda: CrossEntropy(weight=WEIGHT),
    "torch-weighted": lambda: nn.CrossEntropyLoss(weight=torch.tensor(WEIGHT), label_smoothing=0.1),
    "sum": lambda: nn.CrossEntropyLoss(reduction="sum"),
    "ignoring": lambda: nn.CrossEntropyLoss(ignore_index=3),
}


def runner_of(
    processes: Processes,
    *hooks: Hook,
    dtype: torch.dtype = torch.float64,
    samples: int = 43,
    batch_size: int = 10,
    iters: int = 50,
    loss: str = "mean",
    norm: bool = False,
    sync_batchnorm: bool = False,
    freeze: Mapping[str, Any] | None = None,
    update: Mapping[str, Any] | None = None,
    lr: float = 0.05,
    find_unused_parameters: bool = False,
    blocks: int = 0,
    drop: float = 0.0,
    shard: Mapping[str, Any] | None = None,
    precision: str = "fp32",
    work_dir: str | None = None,
    **options: Any,
) -> Runner:
    """Return a runner with a schedule, an average of the weights and metrics.

    With batches of 10 and 43 samples, shares are uneven, and of the last batch of an epoch some are empty.
    """

    torch.manual_seed(0)
    given: dict[str, Any] = dict(update or {})
    model: nn.Module = Net(norm, blocks, drop).to(dtype)
    if processes.count > 1:
        if shard is not None:
            given["parallel"] = ShardedDataParallel(processes=processes, sync_batchnorm=sync_batchnorm, **shard)
        else:
            given["parallel"] = DataParallel(
                processes=processes, sync_batchnorm=sync_batchnorm, find_unused_parameters=find_unused_parameters
            )
        model = given["parallel"].prepare(model)
    shared = {"rank": processes.rank, "processes": processes.count}
    transforms = {"normalize": Normalize([0.3], [0.38])}
    loader = InMemoryLoader(
        FewDigits(samples, "train"), batch_size=batch_size, shuffle=True, transforms=transforms, **shared
    )
    frozen = None if freeze is None else Freeze(**freeze)
    built = LOSSES[loss]()
    clock = Clock.for_run(len(loader), max_iters=iters)
    return Runner(
        update=Update(
            forward=Forward(model, precision=precision),
            loss=built.to(dtype) if isinstance(built, nn.Module) else built,
            optimizer=torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-3),
            freeze=frozen,
            **given,
        ),
        train_loader=loader,
        val_loader=InMemoryLoader(FewDigits(37, "val"), batch_size=12, transforms=transforms, **shared),
        metrics=[CrossEntropyLoss(), TopK(1), Macro()],
        clock=clock,
        schedules={"lr": Cosine(min_value=0.0)},
        hooks=[ScheduleHook(), TrainMetricsHook(), EvaluationHook(5, 1), named(EMAHook(decay=0.9), "ema"), *hooks],
        job=None if work_dir is None else Job(Path(work_dir)),
        **options,
    )


def named(hook: Hook, name: str) -> Hook:
    hook.name = name
    return hook


class KeepsLosses(Hook):
    """Keeps each update's numbers, and adds a penalty and a number of its own."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def before_backward(self, runner: Runner) -> None:
        penalty = runner.outputs["logits"].square().mean()
        runner.outputs["loss"] = runner.outputs["loss"] + 0.01 * penalty
        runner.outputs["penalty"] = penalty

    def after_train_iter(self, runner: Runner) -> None:
        self.losses += [float(runner.outputs[name].detach()) for name in sorted(runner.outputs) if name != "logits"]


def summary(runner: Runner) -> dict[str, Any]:
    """Return what two runs are compared by."""
    weights = {name: whole(value).clone() for name, value in runner.model.state_dict().items()}
    averages = {n: {k: whole(v).clone() for k, v in m.state_dict().items()} for n, m in runner.averages.items()}
    history = [{k: v for k, v in row.items() if not k.startswith(("time/", "throughput/"))} for row in runner.history]
    return {
        "weights": weights,
        "averages": averages,
        "history": history,
        "rows": [dict(row) for row in runner.history],
        "best": runner.best.get("iterations"),
        "iterations": runner.clock.iter,
        "status": runner.status,
        "reason": runner.stop_reason,
    }


def train(processes: Processes, options: Mapping[str, Any]) -> dict[str, Any]:
    """Train to the end."""
    watch = KeepsLosses()
    runner = runner_of(processes, watch, **options)
    runner.run()
    return summary(runner) | {"losses": watch.losses}


def train_each(processes: Processes, given: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Train one run after the other, so that several share a launch."""
    return [train(processes, options) for options in given]


class DoesOnce(Hook):
    """Does something in one process, in a stage of one iteration."""

    def __init__(self, what: str, rank: int, stage: str = "after_train_iter", iteration: int = 5) -> None:
        self.what, self.rank, self.stage, self.iteration = what, rank, stage, iteration

    def _act(self, runner: Runner, stage: str) -> None:
        if (runner.processes.rank, stage, runner.clock.iter) != (self.rank, self.stage, self.iteration):
            return
        if self.what == "stop":
            runner.stop(f"process {self.rank} has seen enough")
        elif self.what == "signal":
            runner.interrupt("SIGTERM")
        else:
            runner.log({"mine": 1.0 + self.rank})

    def after_train_iter(self, runner: Runner) -> None:
        self._act(runner, "after_train_iter")

    def after_train_epoch(self, runner: Runner) -> None:
        self._act(runner, "after_train_epoch")

    def after_val_iter(self, runner: Runner) -> None:
        self._act(runner, "after_val_iter")

    def after_record(self, runner: Runner) -> None:
        self._act(runner, "after_record")

    def between_updates(self, runner: Runner) -> None:
        self._act(runner, "between_updates")


def ended(processes: Processes, events: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Return how runs end in which one process does something."""
    found = []
    for event in events:
        runner = runner_of(processes, DoesOnce(*event), iters=15)
        try:
            runner.run()
        except Interrupted as error:
            found.append(summary(runner) | {"signal": str(error), "whole": runner.resumable_state() is not None})
        else:
            found.append(summary(runner))
    return found


class Draws(Hook):
    """Draws from Python's and NumPy's generators in each update, and lets the model depend on it."""

    def before_train_iter(self, runner: Runner) -> None:
        self.factor = 1 + random.random() + numpy.random.rand()

    def before_backward(self, runner: Runner) -> None:
        runner.outputs["loss"] = runner.outputs["loss"] * self.factor


class KeepsStates(Hook):
    """Keeps the states after these iterations."""

    priority = 100
    first_only = True

    def __init__(self, iterations: tuple[int, ...]) -> None:
        self.iterations = iterations
        self.states: dict[int, Any] = {}

    def between_updates(self, runner: Runner) -> None:
        if runner.clock.iter in self.iterations and runner.clock.iter not in self.states:
            self.states[runner.clock.iter] = pickle.dumps(runner.state_dict())


def with_states(processes: Processes, iterations: tuple[int, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """Train to the end, and return the states on the way, too."""
    keeps = KeepsStates(iterations)
    runner = runner_of(processes, Draws(), keeps, **options)
    runner.run()
    return summary(runner) | {"states": keeps.states}


def resumed(processes: Processes, states: list[bytes], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Go on from each state."""
    found = []
    for state in states:
        runner = runner_of(processes, Draws(), **options)
        runner.run(pickle.loads(state))
        found.append(summary(runner))
    return found


def with_directories(processes: Processes, folder: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Train to the end, with a checkpoint after each update."""
    hook = ShardedCheckpointHook(interval=1, by_epoch=False, max_keep_ckpts=-1)
    runner = runner_of(processes, Draws(), hook, work_dir=folder, **options)
    runner.run()
    return summary(runner)


def resumed_from(processes: Processes, paths: list[Path], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Go on from each checkpoint."""
    return resumed(processes, [pickle.dumps(read(path)) for path in paths], options)


def reductions(processes: Processes, micro_batches: int) -> int:
    """Return how many reductions an update takes."""
    runner = runner_of(processes, update={"micro_batches": micro_batches})
    update, batch = runner.update, next(runner.train_loader.batches(0))
    update.begin_epoch(0)
    update(batch)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        update(batch)
    return sum(event.count for event in profiler.key_averages() if event.key == "c10d::allreduce_")


class HalfUsed(Net):
    """A network with a layer that gets no gradient."""

    def __init__(self) -> None:
        super().__init__(norm=False)
        self.idle = nn.Linear(2, 2)


def unused(processes: Processes, find: bool) -> str:
    """Return what is said of a model with parameters that get no gradient."""
    model = HalfUsed()
    parallel = DataParallel(processes=processes, find_unused_parameters=find)
    update = Update(
        forward=Forward(model),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        parallel=parallel,
    )
    loader = InMemoryLoader(
        FewDigits(10, "train"),
        batch_size=10,
        transforms={"normalize": Normalize([0.3], [0.38])},
        rank=processes.rank,
        processes=processes.count,
    )
    batch = next(loader.batches(0))
    try:
        for _ in range(2):
            update.begin_epoch(0)
            update(batch)
            parallel.check_gradients(model)
    except ParameterError as error:
        return str(error)
    return "fine"


def of_events(processes: Processes, events: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Do several checks in one launch."""
    torch.manual_seed(0)
    values = torch.arange(7.0)[processes.part(7)]
    return {
        "ended": ended(processes, events),
        "reductions": [reductions(processes, parts) for parts in (1, 4)],
        "unused": [unused(processes, find) for find in (False, True)],
        "whole": processes.whole(values, 7).tolist(),
        "first": processes.of_first({"rank": processes.rank}),
        "each": processes.of_each(processes.rank),
    }


class NetOfConfig(nn.Module):
    """The small network as a config builds it."""

    def __init__(self, num_classes: int, in_chans: int, dropout: float = 0.0, **unused: Any) -> None:
        super().__init__()
        self.net = Net(norm=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Tensor) -> Tensor:
        return self.dropout(self.net(images))


def from_config(processes: Processes, folder: str, overrides: list[str]) -> dict[str, Any]:
    """Train as a config says."""
    cfg, job = compose_config(*overrides), Job(Path(folder))
    runner = build_runner(cfg, job, processes=processes)
    job.config = OmegaConf.to_yaml(cfg, resolve=True)
    runner.run()
    return summary(runner) | {"buffers": [b.clone() for b in runner.model.buffers()]}


def each_from_config(processes: Processes, folder: str, given: list[list[str]]) -> list[dict[str, Any] | str]:
    """Train several runs in one launch, or return why one cannot begin."""
    found: list[dict[str, Any] | str] = []
    for number, overrides in enumerate(given):
        try:
            found.append(from_config(processes, f"{folder}/{number}", overrides))
        except ConfigError as error:
            found.append(str(error))
    return found


def model_from_config(overrides: list[str]) -> nn.Module:
    """Return the model that a config describes, before it is trained."""
    cfg = compose_config(*overrides)
    return build_model(cfg, build_source(cfg, "train"))


def sharded_passes(processes: Processes, given: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return how many numbers a pass keeps for the backward pass, and in what weights are gathered and kept."""
    found = []
    for shard in given:
        runner = runner_of(processes, dtype=torch.float32, blocks=3, drop=0.1, shard=shard)
        update, batch = runner.update, next(runner.train_loader.batches(0))
        seen: list[torch.dtype] = []
        linear = runner.model.blocks[0][1]
        linear.register_forward_pre_hook(lambda module, _, seen=seen: seen.append(module.weight.dtype))
        update.begin_epoch(0)
        update(batch)
        kept: list[int] = []

        def keep(value: Tensor, kept: list[int] = kept) -> Tensor:
            kept.append(value.numel())
            return value

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            runner.model(batch.images)
        found.append({"kept": sum(kept), "gathered": str(seen[-1]), "own": str(runner.model.fc.weight.dtype)})
    return found


def memory_on_gpus(processes: Processes, sharded: bool) -> int:
    """Return the most memory that updates of a large model take on this process's GPU."""
    device = torch.device("cuda", processes.rank)
    torch.cuda.set_device(device)
    layers = [nn.Sequential(nn.Linear(1024, 1024), nn.GELU()) for _ in range(16)]
    kind = ShardedDataParallel if sharded else DataParallel
    parallel = kind(processes=processes)
    model = parallel.prepare(nn.Sequential(nn.Flatten(), nn.Linear(64, 1024), *layers, nn.Linear(1024, 10)).to(device))
    optimizer = torch.optim.AdamW(model.parameters())
    update = Update(forward=Forward(model), loss=nn.CrossEntropyLoss(), optimizer=optimizer, parallel=parallel)
    images, targets = torch.rand(4, 1, 8, 8, device=device), torch.zeros(4, dtype=torch.long, device=device)
    batch = Batch(images, targets, torch.arange(4))
    batch.whole = 8
    update.begin_epoch(0)
    update(batch)
    torch.cuda.reset_peak_memory_stats(device)
    update(batch)
    return torch.cuda.max_memory_allocated(device)
