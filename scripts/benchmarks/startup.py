"""How long a command takes from its start to its end, against the imports that it cannot do without.

    imports  a process that only imports torch, torchvision, timm, hydra and tensorboard
    run      python src/train.py runner.max_iters=1 data=fashion_mnist: reads 70,000 images, updates once, measures
             10,000 images, and writes checkpoints, charts and logs
    hydra    a process that only imports hydra
    help     python src/train.py --help
    config   python src/train.py --cfg job
    mistake  python src/train.py optimizer=SGD, which ends in an error
    Tab      what the shell asks for when Tab is pressed

Each is a new process; they take turns, one of each in a round, after a first round that is not counted. "ratio" is a
command over the imports of its kind, the median over the rounds and its quartiles. Beside the time on the wall stands
the CPU time, of all threads: a busy neighbour changes it less.

Arguments after `--` are further overrides of the run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from _common import machine, positive, report, spread, table

TRAIN = str(Path(__file__).resolve().parents[2] / "src" / "train.py")
PACKAGES = "torch, torchvision, timm, hydra, tensorboard"

# A command, the one that it is compared with, and the status that it ends with.
COMMANDS: dict[str, tuple[list[str], str, int]] = {
    "imports": (["-c", f"import {PACKAGES}"], "imports", 0),
    "run": ([TRAIN, "runner.max_iters=1", "data=fashion_mnist"], "imports", 0),
    "hydra": (["-c", "import hydra"], "hydra", 0),
    "help": ([TRAIN, "--help"], "hydra", 0),
    "config": ([TRAIN, "--cfg", "job"], "hydra", 0),
    "mistake": ([TRAIN, "optimizer=SGD"], "hydra", 2),
    "Tab": ([TRAIN, "-sc", "query=bash"], "hydra", 0),
}


class Seconds(NamedTuple):
    """How long a process took."""

    wall: float
    cpu: float


def measure(arguments: Sequence[str], status: int, folder: Path) -> Seconds:
    """Run Python with these arguments in a folder and return how long it took.

    Raises:
        RuntimeError: it ended with another status.
    """
    environment = {**os.environ, "COMP_LINE": "python src/train.py lr_sch", "COMP_POINT": "26"}
    start, before = time.perf_counter(), os.times()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode != status:
        raise RuntimeError(f"{' '.join(arguments)} ended with status {done.returncode}:\n{done.stderr}")
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return Seconds(wall, cpu)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=10, help="rounds that count (default 10)")
    parser.add_argument("--only", nargs="+", choices=list(COMMANDS), default=list(COMMANDS), help="these alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    parser.add_argument("overrides", nargs="*", help="further overrides of the run")
    args = parser.parse_args()

    found = machine()
    chosen = [name for name in COMMANDS if name in args.only or name in {COMMANDS[other][1] for other in args.only}]
    taken: dict[str, list[Seconds]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.rounds + 1):
            for name in chosen[:: 1 if number % 2 else -1]:
                arguments, _, status = COMMANDS[name]
                seconds = measure([*arguments, *(args.overrides if name == "run" else [])], status, Path(folder))
                if number:
                    taken[name].append(seconds)

    rows, numbers = [], {}
    for name in chosen:
        base = taken[COMMANDS[name][1]]
        ratios = [
            spread([getattr(own, clock) / getattr(other, clock) for own, other in zip(taken[name], base, strict=True)])
            for clock in Seconds._fields
        ]
        times = [spread([getattr(own, clock) for own in taken[name]]) for clock in Seconds._fields]
        numbers[name] = {
            clock: {"seconds": middle._asdict(), "ratio": ratio._asdict()}
            for clock, middle, ratio in zip(Seconds._fields, times, ratios, strict=True)
        }
        rows.append([name])
        for middle, ratio in zip(times, ratios, strict=True):
            rows[-1] += [f"{middle.median:.2f}", f"{ratio.median:.2f}", f"{ratio.low:.2f} to {ratio.high:.2f}"]
    report(
        f"From start to end, {args.rounds} rounds",
        found,
        table(["", "wall, s", "ratio", "quartiles", "CPU, s", "ratio", "quartiles"], rows),
        {"rounds": args.rounds, "commands": numbers},
        args.json,
    )


if __name__ == "__main__":
    main()
