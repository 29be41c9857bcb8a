"""How long a sweep takes, against its jobs' own training times.

    hookline  python src/train.py -m, with this project's launcher
    joblib    the same with hydra/launcher=joblib, where it is installed
    basic     the same with hydra/launcher=basic, one job after another in one process

12 short jobs, each with another seed. "training" is what the jobs' own `result.json` files say, added up and spread
over the slots; "start-up" is a process that only imports torch, torchvision, timm, hydra and tensorboard, as each
command has to once. "ratio" is the time on the wall over training spread over the slots plus one start-up: 1 is the
best that a launcher can do. The training times are each launcher's own, so what it costs to run several at once is not
in the ratio; the time on the wall has it.

"begins" is how long a job of hookline takes from the start of its process to its first iteration, the median and the
slowest of six that run alone, one after another.

Arguments after `--` are further overrides of the jobs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import median

from _common import machine, positive, report, table
from startup import PACKAGES

from hookline.config.cores import available_cores

TRAIN = str(Path(__file__).resolve().parents[2] / "src" / "train.py")


def launchers(slots: int) -> dict[str, tuple[list[str], int]]:
    """Return the overrides of each launcher that is there, and how many jobs it runs at a time."""
    found = {"hookline": ([f"launcher.slots={slots}"], slots)}
    if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher"):
        found["joblib"] = (["hydra/launcher=joblib", f"hydra.launcher.n_jobs={slots}"], slots)
    return found | {"basic": (["hydra/launcher=basic"], 1)}


def timed(command: Sequence[str], folder: Path) -> float:
    """Run Python with these arguments in a folder and return the seconds on the wall.

    Raises:
        RuntimeError: it failed.
    """
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit status {done.returncode}:\n{done.stderr}")
    return time.perf_counter() - began


def beginnings(folder: Path) -> list[float]:
    """Return how many seconds jobs take from the start of their processes to their first iterations."""
    timed([TRAIN, "-m", "seed=range(0,6)", "runner.max_iters=1", "launcher.slots=1", "hydra.sweep.dir=begins"], folder)
    found = []
    for job in Path(folder, "begins").glob("seed=*"):
        # The first line of a run's log is written when all is built and the loop begins.
        first = datetime.fromisoformat(" ".join((job / "train.log").read_text().split()[:2])).timestamp()
        found.append(first - json.loads((job / "state.json").read_text())["started"])
    return sorted(found)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=positive, default=12, help="how many (12)")
    parser.add_argument("--epochs", type=positive, default=20, help="of each job (20)")
    parser.add_argument("--slots", type=positive, default=available_cores(), help="jobs at a time (as many as cores)")
    parser.add_argument("--only", action="store_true", help="this project's launcher alone")
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    parser.add_argument("overrides", nargs="*", help="further overrides of the jobs")
    chosen = parser.parse_args(arguments)
    found, rows, numbers = machine(), [], {}
    os.environ.setdefault("OMP_NUM_THREADS", str(max(chosen.slots, 1)))
    with tempfile.TemporaryDirectory(prefix="sweep_") as place:
        startup = timed(["-c", f"import {PACKAGES}"], Path(place))
        for name, (launcher, slots) in launchers(chosen.slots).items():
            if chosen.only and name != "hookline":
                continue
            jobs = ["-m", f"seed=range(0,{chosen.jobs})", f"runner.max_epochs={chosen.epochs}", "runner.threads=1"]
            seconds = timed([TRAIN, *jobs, f"hydra.sweep.dir={name}", *launcher, *chosen.overrides], Path(place))
            results = [json.loads(path.read_text()) for path in Path(place, name).glob("*/result.json")]
            training = sum(result["seconds"] for result in results) / slots
            ratio = seconds / (training + startup)
            numbers[name] = {"seconds": seconds, "training": training, "startup": startup, "ratio": ratio}
            row = (f"{seconds:.1f}", f"{training:.1f}", f"{startup:.1f}", f"{ratio:.2f}")
            rows.append((name, str(slots), *row))
        begins = beginnings(Path(place))
        numbers["begins"] = {"median": median(begins), "slowest": begins[-1]}
    header = ("launcher", "slots", "seconds", "training", "start-up", "ratio")
    told = f"begins: {median(begins):.2f} s, the slowest of {len(begins)} {begins[-1]:.2f} s"
    title = f"{chosen.jobs} jobs of {chosen.epochs} epochs"
    report(title, found, f"{table(header, rows)}\n\n{told}", numbers, chosen.json)


if __name__ == "__main__":
    main()
