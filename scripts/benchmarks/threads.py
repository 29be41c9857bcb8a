"""How steady the speed of a run is: wall time of whole runs, on an idle machine and with a busy neighbour.

Each run is a process of its own, `python src/train.py` with the overrides given here, from its start to its end. The
numbers of threads in --threads, each with and without a neighbour, take turns in rounds, the first of which is not
counted. The neighbour is a process on every core that computes without a pause. The goal for `auto`: the slowest of ten
runs takes at most 1.5 times their median.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from _common import interleave, machine, positive, report, table

TRAIN = Path(__file__).resolve().parents[2] / "src" / "train.py"
SPIN = "while True: pass"


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Keep every core busy."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def seconds_of_a_run(overrides: Sequence[str], *, busy: bool) -> float:
    """Return how long a run takes, or exit with its message."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    with tempfile.TemporaryDirectory() as folder, busy_neighbour() if busy else nullcontext():
        command = [sys.executable, str(TRAIN), *overrides, f"hydra.run.dir={folder}/run"]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stderr)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="of the run, such as runner.max_epochs=8 (default none)")
    parser.add_argument("--rounds", type=positive, default=10, help="runs of each kind (default 10)")
    parser.add_argument("--threads", nargs="+", default=["auto"], help="values of runner.threads (default auto)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    args = parser.parse_args()

    found = machine()
    kinds = {
        f"threads={threads}, {'busy neighbour' if busy else 'idle'}": partial(
            seconds_of_a_run, [*args.overrides, f"runner.threads={threads}"], busy=busy
        )
        for threads in args.threads
        for busy in (False, True)
    }
    measured = interleave(kinds, args.rounds)
    rows, numbers = [], {}
    for name, seconds in measured.items():
        slowest, median = max(seconds), statistics.median(seconds)
        numbers[name] = {"seconds": seconds, "slowest": slowest, "median": median, "ratio": slowest / median}
        rows.append([name, f"{slowest:.1f} s", f"{median:.1f} s", f"{slowest / median:.2f}"])
    report(
        f"Whole runs, {args.rounds} of each: python src/train.py {' '.join(args.overrides)}".rstrip(),
        found,
        table(["", "slowest", "median", "slowest / median"], rows),
        {"rounds": args.rounds, "overrides": args.overrides, "runs": numbers},
        args.json,
    )


if __name__ == "__main__":
    main()
