"""Whole runs over JPEGs on disk: timm's own train.py against hookline's, each a process with the same settings."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from _jpegs import make_jpegs

TRAIN = str(Path(__file__).resolve().parents[2] / "src" / "train.py")
ORIGINALS = 512


def make_folder(folder: Path, images: int) -> None:
    """Write train/ and validation/ with a folder for each of two classes; files beyond a few hundred are links."""
    make_jpegs(folder / "train", min(ORIGINALS, images))
    originals = sorted((folder / "train").rglob("*.jpg"))
    for number in range(len(originals), images):
        original = originals[number % len(originals)]
        os.link(original, original.with_name(f"{number:06d}.jpg"))
    for original in originals[:4]:
        copy = folder / "validation" / original.parent.name / original.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        os.link(original, copy)


def run(arguments: Sequence[str], folder: Path) -> str:
    """Run Python with these arguments in a folder, and return what it printed.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} ended with status {done.returncode}: {done.stdout.strip()[-300:]}")
    return done.stdout


def steady(rates: Sequence[float]) -> float:
    """Return the median of the later half: models are compiled in the first."""
    if not rates:
        raise RuntimeError("no images/s were told")
    return statistics.median(rates[len(rates) // 2 :])


def timm_rates(printed: str) -> list[float]:
    """Return the images a second of the updates that timm's train.py tells of."""
    return [float(rate) for rate in re.findall(r"Train: .*?Time: +[\d.]+s, +([\d.]+)/s", printed)]


def timm_speed(script: Path, data: Path, folder: Path, settings: dict[str, str], *, compiles: bool) -> float:
    """Return the images a second of timm's train.py."""
    options = {
        "--data-dir": str(data),
        "--model": settings["model"],
        "--num-classes": "2",
        "-b": settings["batch"],
        "--epochs": "1",
        "--opt": "sgd",
        "--lr": "0.01",
        "--warmup-epochs": "0",
        "--color-jitter": "0",
        "-j": settings["workers"],
        "--log-interval": settings["interval"],
        "--amp-dtype": "bfloat16",
        "--device": settings["device"],
        "--output": str(folder),
    }
    switches = ["--amp", "--channels-last", *(["--torchcompile", "inductor"] if compiles else [])]
    return steady(timm_rates(run([str(script), *[w for pair in options.items() for w in pair], *switches], folder)))


def hookline_speed(data: Path, folder: Path, settings: dict[str, str], *, compiles: bool) -> float:
    """Return the images a second of src/train.py."""
    overrides = [
        *("data=image_folder", f"data.root={data}", f"data.batch_size={settings['batch']}", "data.drop_last=true"),
        *("model=timm", f"model.model_name={settings['model']}", "optimizer=sgd", "optimizer.lr=0.01"),
        *("runner.precision=bf16", f"runner.compile={str(compiles).lower()}", f"runner.device={settings['device']}"),
        *("runner.max_epochs=1", "evaluation=none", "checkpoint=none", f"data.workers={settings['workers']}"),
        *("logger=json_lines", f"logger.interval={settings['interval']}", f"hydra.run.dir={folder}"),
    ]
    run([TRAIN, *overrides], folder)
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    samples = [line for line in lines if line["kind"] == "sample"]
    return steady([rate for line in samples if (rate := line.get("throughput/images_per_second"))])
