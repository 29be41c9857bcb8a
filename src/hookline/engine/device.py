"""The device of a run, and its random generators."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy
import torch

from hookline.config.checks import check_choice
from hookline.config.errors import ParameterError

DEVICES = ("auto", "cpu", "cuda")


def resolve_device(name: str) -> torch.device:
    """Return the device for `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`."""
    base, _, index = str(name).partition(":")
    if base not in DEVICES or (":" in str(name) and not (base == "cuda" and index.isdigit())):
        check_choice("device", name, [*DEVICES, "cuda:N"])
        raise ParameterError("device", name, "auto, cpu, cuda or cuda:N")
    if base == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if base == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ParameterError(
            "device", name, f"auto or cpu: this machine has {torch.cuda.device_count()} CUDA device(s)"
        )
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return the device, a GPU with its model's name."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


class Generators:
    """The global random generators of a process: Python's, NumPy's, torch's and those of all GPUs that it sees.

    Args:
        device: the run's device.
        rank: the number of the process, under which its own state is kept.
    """

    def __init__(self, device: torch.device, rank: int = 0) -> None:
        self.device = device
        self.rank = rank
        self._torch = [torch.default_generator]
        # Of the other GPUs that this process sees, on which a hook or a part of the model may draw.
        self._others: dict[int, torch.Generator] = {}
        if device.type == "cuda":
            torch.cuda.init()
            self._others = dict(enumerate(torch.cuda.default_generators))
            own = torch.cuda.current_device() if device.index is None else device.index
            self._torch.append(self._others.pop(own))

    def seed(self, seed: int) -> None:
        """Seed them all with a number in [0, 2^63)."""
        random.seed(seed)
        numpy.random.seed(seed % 2**32)
        self.seed_torch(seed)
        for generator in self._others.values():
            generator.manual_seed(seed)

    def seed_torch(self, seed: int) -> None:
        """Seed torch's generator and the device's, in about a microsecond: `torch.manual_seed` takes a hundred."""
        for generator in self._torch:
            generator.manual_seed(seed)

    def state_dict(self) -> dict[str, Any]:
        """Return the generators' states as tensors, numbers and strings."""
        kind, keys, position, has_gauss, gauss = numpy.random.get_state(legacy=True)
        own_keys = torch.from_numpy(numpy.asarray(keys, dtype=numpy.int64))
        state: dict[str, Any] = {
            "python": random.getstate(),
            "numpy": [str(kind), own_keys, position, has_gauss, float(gauss)],
            "torch": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["cuda"] = self._torch[-1].get_state()
            state["cuda_others"] = {index: generator.get_state() for index, generator in self._others.items()}
        return {f"rank{self.rank}": state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up this process's states, or those of the first; one of a GPU that is not here is left as it is.

        The state of the run's own GPU goes to the run's own, whatever their numbers are.
        """
        # Hooks draw the same from Python's and NumPy's in all processes, and torch's are seeded for each update.
        own = state.get(f"rank{self.rank}", state.get("rank0"))
        if own is None:
            return
        version, internal, gauss_next = own["python"]
        random.setstate((version, tuple(internal), gauss_next))
        kind, keys, position, has_gauss, gauss = own["numpy"]
        numpy.random.set_state((kind, keys.numpy().astype(numpy.uint32), position, has_gauss, gauss))
        torch.set_rng_state(own["torch"])
        if self.device.type == "cuda" and "cuda" in own:
            self._torch[-1].set_state(own["cuda"])
            for index, kept in own.get("cuda_others", {}).items():
                if index in self._others:
                    self._others[index].set_state(kept)
