"""How long a training loop stands still for a checkpoint, against writing it in the loop.

    in the loop  torch.save into a file beside, fsync, rename, fsync of the folder
    hookline     a copy into kept buffers; a thread writes, with a checksum
    until whole  how long after that hookline's file is in its place

The state is a model's weights with AdamW's two moments, after one update. All take turns in one process, one of each in
a round, after a first round that is not counted: hookline makes its buffers in it. "ratio" is over the time in the loop
of the same round, the median over the rounds and its quartiles. The goal is a tenth.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from _common import machine, positive, report, spread, table

from hookline.checkpoint import Writer
from hookline.checkpoint.files import sync_folder


def state_of(model_name: str, device: torch.device) -> dict[str, Any]:
    """Return the state of a model and its AdamW after one update."""
    model = timm.create_model(model_name).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}


def in_the_loop(path: Path, state: dict[str, Any]) -> None:
    """Write a state whole, and wait for the disk."""
    beside = path.with_suffix(".tmp")
    torch.save(state, beside)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(beside, path)
    sync_folder(path.parent)


def size_of(state: Any) -> int:
    """Return the bytes of all tensors in a nested structure."""
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(size_of(value) for value in state.values())
    return sum(size_of(value) for value in state) if isinstance(state, list | tuple) else 0


def measure(state: dict[str, Any], folder: Path, rounds: int, finish: Any) -> dict[str, list[float]]:
    """Return the seconds of each round, by what was measured."""
    writer = Writer()
    seconds: dict[str, list[float]] = {"in the loop": [], "hookline": [], "until whole": []}
    for number in range(rounds + 1):
        finish()
        began = time.perf_counter()
        in_the_loop(folder / "loop.pt", state)
        looped = time.perf_counter()
        writer.submit(folder / "thread.pt", state)
        finish()
        submitted = time.perf_counter()
        writer.join()
        ended = time.perf_counter()
        if (error := writer.take_error()) is not None:
            raise error
        if number:
            seconds["in the loop"].append(looped - began)
            seconds["hookline"].append(submitted - looped)
            seconds["until whole"].append(ended - looped)
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=9, help="how often each is measured (9)")
    parser.add_argument("--model", default="resnet50", help="a model of timm (resnet50)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; a temporary one without it")
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    chosen = parser.parse_args(arguments)
    device = torch.device(chosen.device)
    state = state_of(chosen.model, device)
    finish = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        seconds = measure(state, Path(folder), chosen.rounds, finish)
    ratios = {
        name: [value / loop for value, loop in zip(values, seconds["in the loop"], strict=True)]
        for name, values in seconds.items()
    }
    rows = []
    for name, values in seconds.items():
        time_, ratio = spread(values), spread(ratios[name])
        row = [name, f"{1000 * time_.median:.1f}", f"{ratio.median:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}"]
        rows.append(row)
    report(
        f"A checkpoint of {chosen.model} with AdamW on {device}, {size_of(state) / 1e6:.0f} MB, {chosen.rounds} rounds",
        machine(),
        table(["", "ms", "ratio", "quartiles"], rows),
        {"seconds": seconds, "ratios": ratios},
        chosen.json,
    )


if __name__ == "__main__":
    main()
