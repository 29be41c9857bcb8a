"""What hookline costs on a GPU, against loops that do the same: a table in Markdown, and the numbers as JSON.

    resnet50    ResNet-50, 224x224, batches that lie on the GPU, bf16, NHWC, torch.compile, SGD: images/s
    vit_s       ViT-S/16 with AdamW, likewise
    epochs      whole epochs of 50,000 images of CIFAR-10's size: shuffled, flipped, cropped, trained on; images/s
    jpegs       JPEGs of 500x375 decoded, cropped to 224x224, flipped, normalised, on the GPU: images/s
    checkpoint  how long the loop stands still for a ResNet-50 with AdamW: ms
    startup     a run of one update, from start to end: s
    script      with --timm FILE: a whole run over JPEGs on disk by timm's own train.py, and by src/train.py; images/s

    bare        by hand: forward, loss, backward, step; for epochs as cifar10-airbench feeds its nets, from the GPU
    timm        a loop as timm's train.py runs it, at the same settings
    usual       torchvision's ImageFolder, Pillow, transforms v1, a DataLoader with pinned memory
    in the loop torch.save, fsync, rename
    imports     a process that only imports torch, torchvision, timm, hydra and tensorboard
    hookline    with its default hooks and loggers

Those of a task take turns in one process (those of startup are processes); a first round, in which models are compiled,
is not counted. A ratio is hookline's number over the other's of the same round, the median over the rounds and its
quartiles. `--device cpu --tiny` tries the script itself: its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import checkpoint
import startup
import timm
import torch
from _common import TimedPass, describe, interleave, machine, positive, spread
from _gpu_loops import SmallImages, bare_epochs, bare_updates, hookline_epochs, hookline_updates, timm_updates
from _jpegs import TASKS as JPEG_TASKS
from _jpegs import hookline_batches, make_jpegs, usual_batches
from _timm_script import hookline_speed, make_folder, timm_speed
from _turns import TurnPass, take_turns
from torch import nn

from hookline.config.cores import available_cores
from hookline.config.errors import ConfigError
from hookline.engine.device import device_name, resolve_device
from hookline.engine.memory import keep_freed_memory
from hookline.engine.numerics import set_numerics


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Attributes:
        rounds: that count.
        timed: iterations in a turn.
        skip: iterations before those.
        batch: images in a batch of a model.
        image: their height and width.
        resnet: timm's name of the first model.
        vit: and of the second.
        epoch: images in an epoch of small ones.
        epochs: of them in a round.
        width: of the small model's first block.
        jpegs: images in a round.
    """

    rounds: int = 7
    timed: int = 50
    skip: int = 5
    batch: int = 256
    image: int = 224
    resnet: str = "resnet50"
    vit: str = "vit_small_patch16_224"
    epoch: int = 50_000
    epochs: int = 3
    width: int = 64
    jpegs: int = 4096


TINY = Sizes(1, 2, 1, 2, 32, "test_resnet", "test_vit", 64, 1, 2, 16)
SMALL_BATCH = 1000
JPEG_BATCH = 64
JPEG_FILES = 512


@dataclass(frozen=True)
class Setting:
    """What the tasks are given.

    Attributes:
        device: what is measured.
        sizes: see `Sizes`.
        compiles: whether models go through torch.compile.
        timm: timm's train.py, where it is given.
    """

    device: torch.device
    sizes: Sizes
    compiles: bool
    timm: Path | None = None

    def finish(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def clock(self) -> float:
        """Return the time, in seconds, at which all that was asked of the device is done."""
        self.finish()
        return time.perf_counter()


@dataclass(frozen=True)
class Measured:
    """What a task has found.

    Attributes:
        unit: of the values.
        values: of each round, by who was measured; hookline is one of them.
        goals: by who hookline is compared with, the least that the median ratio should be; negative: the most.
    """

    unit: str
    values: dict[str, list[float]]
    goals: dict[str, float]


def updates(setting: Setting, name: str, optimizer: Callable[..., torch.optim.Optimizer]) -> Measured:
    """Measure updates of a model of timm."""
    sizes, device = setting.sizes, setting.device
    images = torch.rand(sizes.batch, 3, sizes.image, sizes.image, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(sizes.batch, device=device) % 1000

    def make() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        own: dict[str, Any] = {"img_size": sizes.image} if "vit" in name else {}
        model = timm.create_model(name, num_classes=1000, **own).to(device)
        return model, optimizer(model.parameters())

    with tempfile.TemporaryDirectory() as folder:
        loops: dict[str, Callable[[TurnPass], None]] = {
            "bare": partial(bare_updates, make=make, device=device, compiles=setting.compiles),
            "timm": partial(timm_updates, make=make, device=device, compiles=setting.compiles),
            "hookline": partial(
                hookline_updates,
                make=make,
                device=device,
                compiles=setting.compiles,
                folder=Path(folder),
                val=[(images, labels)],
            ),
        }
        make_pass = partial(
            TurnPass,
            itertools.repeat((images, labels)),
            turns=sizes.rounds + 1,
            timed=sizes.timed,
            skip=sizes.skip,
            clock=setting.clock,
        )
        seconds = take_turns(loops, make_pass)
    speeds = {who: [sizes.batch / value for value in values] for who, values in seconds.items()}
    return Measured("images/s", speeds, {"bare": 0.95, "timm": 1.0})


def resnet(setting: Setting) -> Measured:
    """Measure updates of a ResNet-50."""
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=5e-5, nesterov=True, fused=True)
    return updates(setting, setting.sizes.resnet, sgd)


def vit(setting: Setting) -> Measured:
    """Measure updates of a ViT-S."""
    adamw = partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.05, fused=True)
    return updates(setting, setting.sizes.vit, adamw)


def epochs(setting: Setting) -> Measured:
    """Measure whole epochs over small images."""
    sizes = setting.sizes
    source = SmallImages(sizes.epoch)
    given: dict[str, Any] = {
        "width": sizes.width,
        "batch_size": min(SMALL_BATCH, sizes.epoch // 2),
        "epochs": sizes.epochs,
        "device": setting.device,
        "compiles": setting.compiles,
        "finish": setting.finish,
    }

    def hookline() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return hookline_epochs(source, folder=Path(folder), **given)

    contestants = {"bare": lambda: bare_epochs(source, **given), "hookline": hookline}
    return Measured("images/s", interleave(contestants, sizes.rounds), {})


def jpegs(setting: Setting) -> Measured:
    """Measure how fast JPEGs come to the device."""
    sizes, workers = setting.sizes, available_cores()
    batch_size = min(JPEG_BATCH, sizes.jpegs)
    timed = max(1, sizes.jpegs // batch_size)

    def contestant(batches: Callable[..., Any], folder: Path) -> Callable[[], float]:
        def measure() -> float:
            # Batches that are ready when the clock starts are made up for by those that are ready when it stops.
            count = (timed + 2 + 2 * max(workers, 2)) * batch_size
            task = JPEG_TASKS["train"]
            epoch = batches(
                task, folder, workers=workers, batch_size=batch_size, images=count, device=str(setting.device)
            )
            with_time = TimedPass(epoch, timed=timed, skip=1, finish=setting.finish)
            for _ in with_time:
                pass
            return timed * batch_size / with_time.seconds

        return measure

    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "files")
        make_jpegs(files, min(JPEG_FILES, sizes.jpegs))
        contestants = {"usual": contestant(usual_batches, files), "hookline": contestant(hookline_batches, files)}
        return Measured("images/s", interleave(contestants, sizes.rounds), {"usual": 1.0})


def stall(setting: Setting) -> Measured:
    """Measure how long a checkpoint holds the loop up."""
    state = checkpoint.state_of(setting.sizes.resnet, setting.device)
    with tempfile.TemporaryDirectory() as folder:
        seconds = checkpoint.measure(state, Path(folder), setting.sizes.rounds, setting.finish)
    values = {who: [1000 * value for value in seconds[who]] for who in ("in the loop", "hookline")}
    return Measured("ms", values, {"in the loop": -0.1})


def start(setting: Setting) -> Measured:
    """Measure a run of one update."""
    script = startup.COMMANDS["run"][0][0]
    commands = {
        "imports": startup.COMMANDS["imports"][0],
        "hookline": [script, "runner.max_iters=1", f"runner.device={setting.device}"],
    }

    def contestant(arguments: list[str]) -> Callable[[], float]:
        def measure() -> float:
            with tempfile.TemporaryDirectory() as folder:
                return startup.measure(arguments, 0, Path(folder)).wall

        return measure

    contestants = {who: contestant(arguments) for who, arguments in commands.items()}
    return Measured("s", interleave(contestants, setting.sizes.rounds), {})


def script(setting: Setting) -> Measured:
    """Measure whole runs from the command line."""
    if setting.timm is None:
        raise ValueError("give timm's train.py: --timm FILE")
    sizes, own = setting.sizes, setting.timm
    settings = {
        "model": sizes.resnet,
        "batch": str(sizes.batch),
        "workers": str(available_cores()),
        "interval": str(max(1, sizes.timed // 5)),
        "device": str(setting.device),
    }

    def contestant(speed: Callable[..., float]) -> Callable[[], float]:
        def measure() -> float:
            with tempfile.TemporaryDirectory() as folder:
                return speed(Path(data), Path(folder), settings, compiles=setting.compiles)

        return measure

    with tempfile.TemporaryDirectory() as data:
        make_folder(Path(data), 2 * sizes.timed * sizes.batch)
        contestants = {"timm": contestant(partial(timm_speed, own)), "hookline": contestant(hookline_speed)}
        return Measured("images/s", interleave(contestants, sizes.rounds), {"timm": 1.0})


TASKS: dict[str, Callable[[Setting], Measured]] = {
    "resnet50": resnet,
    "vit_s": vit,
    "epochs": epochs,
    "jpegs": jpegs,
    "checkpoint": stall,
    "startup": start,
    "script": script,
}


def numbers_of(found: Measured) -> dict[str, Any]:
    """Return the medians and quartiles of what was measured, the ratios, and whether goals are reached."""
    own = found.values["hookline"]
    ratios: dict[str, dict[str, Any]] = {}
    for who, values in found.values.items():
        if who != "hookline":
            ratio = spread([one / other for one, other in zip(own, values, strict=True)])
            ratios[who] = ratio._asdict()
            if (goal := found.goals.get(who)) is not None:
                reached = ratio.median <= -goal if goal < 0 else ratio.median >= goal
                ratios[who] |= {"goal": f"at {'most' if goal < 0 else 'least'} {abs(goal):g}", "reached": reached}
    shown = {who: {**spread(values)._asdict(), "rounds": values} for who, values in found.values.items()}
    return {"unit": found.unit, "values": shown, "ratios": ratios}


def markdown(tasks: dict[str, dict[str, Any]], title: str) -> str:
    """Return the numbers of all tasks as a table in Markdown below a title."""
    lines = [
        f"{title}\n",
        "| task | who | measured (quartiles) | hookline over it (quartiles) | goal |",
        "|---" * 5 + "|",
    ]
    for task, found in tasks.items():
        if "failed" in found:
            lines.append(f"| {task} | | failed: {found['failed']} | | |")
            continue
        for who, value in found["values"].items():
            shown, goal = "", ""
            if (ratio := found["ratios"].get(who)) is not None:
                shown = f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"
                if "goal" in ratio:
                    goal = f"{ratio['goal']}: {'reached' if ratio['reached'] else 'missed'}"
            measured = " to ".join(_short(value[key]) for key in ("low", "high"))
            cells = [task, who, f"{_short(value['median'])} {found['unit']} ({measured})", shown, goal]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def where(device: torch.device) -> dict[str, Any]:
    """Return what the numbers depend on, the GPU's side included."""
    found: dict[str, Any] = {**machine(), "device": device_name(device)}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "compute_capability": f"{properties.major}.{properties.minor}",
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu (default cuda)")
    parser.add_argument("--only", nargs="+", choices=TASKS, help="these tasks (default all that can be done)")
    parser.add_argument("--timm", type=Path, metavar="FILE", help="train.py of timm's repository, for the task script")
    parser.add_argument("--rounds", type=positive, help=f"rounds that count (default {Sizes().rounds}; tiny 1)")
    parser.add_argument("--batch", type=positive, help=f"images in a batch of a model (default {Sizes().batch})")
    parser.add_argument("--eager", action="store_true", help="compile no model")
    parser.add_argument("--tiny", action="store_true", help="try the script itself: sizes that mean nothing")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    args = parser.parse_args(arguments)
    try:
        device = resolve_device(args.device)
    except (ConfigError, ValueError) as error:
        print(f"--{error}", file=sys.stderr)
        return 2
    base = TINY if args.tiny else Sizes()
    given = {key: value for key in ("rounds", "batch") if (value := getattr(args, key)) is not None}
    own = None if args.timm is None else args.timm.resolve()
    if own is not None and not own.is_file():
        print(f"--timm {args.timm}: there is no such file", file=sys.stderr)
        return 2
    setting = Setting(device, Sizes(**{**vars(base), **given}), not (args.eager or args.tiny), own)
    set_numerics()  # TF32 and cuDNN's choice by speed, for all alike
    found = where(device)
    title = f"{found['device']}: {describe(found)}"
    if args.tiny:
        title += "\n\nTiny sizes: these numbers say that the script works, and nothing else."
    tasks: dict[str, dict[str, Any]] = {}
    for name in args.only or [name for name in TASKS if name != "script" or own is not None]:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            tasks[name] = numbers_of(TASKS[name](setting))
        except Exception as error:  # the other tasks' numbers are worth having
            traceback.print_exc()
            tasks[name] = {"failed": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"}
        # What is there is written after each task: a machine may be taken away.
        text = markdown(tasks, title)
        if args.markdown is not None:
            args.markdown.write_text(text)
        if args.json is not None:
            whole = {"machine": found, "sizes": vars(setting.sizes), "compiled": setting.compiles, "tasks": tasks}
            args.json.write_text(json.dumps(whole, indent=2) + "\n")
    print(text)
    return 1 if any("failed" in task for task in tasks.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
