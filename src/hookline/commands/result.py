"""What a finished run says of itself: `result.json`, and one line on the screen."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from hookline.config.files import replacing
from hookline.engine import Runner
from hookline.loggers.console import shown

PACKAGES = ("torchvision", "timm", "hydra-core", "numpy")


def write_result(runner: Runner, seconds: float) -> None:
    """Write `result.json` into the run directory."""
    latest = runner.metrics.latest
    result: dict[str, Any] = {
        "status": "completed",
        "final": {name: latest[name] for name in latest if name.startswith(("val/", "val_ema/", "train/"))},
        "best": runner.best,
        "epochs": runner.epoch,
        "iterations": runner.iter,
        "seconds": round(seconds, 3),
        "device": device_name(runner),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)}
        | {name: version(name) for name in PACKAGES},
        "git_commit": git_commit(),
    }
    with replacing(runner.work_dir / "result.json") as path:
        path.write_text(json.dumps(result, indent=2) + "\n")


def final_line(runner: Runner, seconds: float) -> str:
    """Return what was reached, how long it took and where it is."""
    latest, best = runner.metrics.latest, runner.best
    reached = "no validation"
    if "val/top1" in latest:
        reached = f"val/top1 {latest['val/top1']:.2f} %"
        if best.get("epoch") != runner.epoch:
            reached += f" (best {best['val/top1']:.2f} % in epoch {best['epoch']})"
    return (
        f"done: {reached} after {runner.epoch} epoch{'s' * (runner.epoch != 1)} ({runner.iter} iterations,"
        f" {seconds:.1f} s): {shown(runner.work_dir)}"
    )


def device_name(runner: Runner) -> str:
    """Return the device, a GPU with its model's name."""
    if runner.device.type == "cuda":
        return f"{runner.device} ({torch.cuda.get_device_name(runner.device)})"
    return str(runner.device)


def git_commit() -> str | None:
    """Return the commit of the code that runs, with `+changes` where the tree differs from it; None outside git."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None
