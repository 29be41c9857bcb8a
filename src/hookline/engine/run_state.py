"""The state of a run: all that decides how it goes on."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any, Protocol

import torch
from torch.optim import Optimizer

from hookline.config.errors import reason_of
from hookline.optim.shards import laid_out_as

log = logging.getLogger(__name__)

FORMAT = 2


class Stateful(Protocol):
    """A part of a run's state."""

    def state_dict(self) -> Any:
        """Return the state as tensors, numbers, strings, lists and dicts."""
        ...

    def load_state_dict(self, state: Any) -> Any:
        """Take up what `state_dict` gave; raise `ValueError` or `RuntimeError` where it does not fit."""
        ...


class StateError(Exception):
    """A state that does not fit the run; its text names the part."""


class RunState:
    """The named parts of a run's state, saved and restored together.

    The parts are the model, the optimizer, the gradient scaler, the clock, the random generators, the loader, the sums
    of what training measures, the history (from which the best row follows), the update where it keeps something of its
    own, and every hook that has a state, by its name in the config: `hooks.ema`. A state is taken between two updates
    only. A run that takes it up goes on as if it had never been interrupted: with the same weights, the same history
    and the same files. What is each process's own is kept by the process's rank inside its part.

    Args:
        parts: the parts by name; they are restored in this order.
        watchers: the names of parts that only watch the run, such as loggers: a run may go on without one of them, or
            with one more.
    """

    def __init__(self, parts: Mapping[str, Stateful], watchers: Collection[str] = ()) -> None:
        self.parts = dict(parts)
        self.watchers = sorted(watchers)

    def state_dict(self) -> dict[str, Any]:
        """Return `format`, `watchers` and `parts`. The tensors are the run's own: copy what must outlive an update."""
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        return {"format": FORMAT, "watchers": self.watchers, "parts": parts}

    def load_state_dict(self, state: Mapping[str, Any], force: bool = False) -> None:
        """Restore every part.

        Args:
            state: what `state_dict` gave.
            force: leave out parts that are missing, unknown or do not fit, and warn of them.

        Raises:
            StateError: the format is another one, a part is missing or unknown, or a part refuses its state.
        """
        check_format(state)
        given = state.get("parts")
        if not isinstance(given, Mapping):
            raise StateError("the state has no parts")
        problems = []
        for name in self.parts:
            if name not in given and name not in self.watchers:
                problems.append(f"{name}: the state has no such part. It has: {', '.join(given)}")
        for name in given:
            if name not in self.parts and name not in state["watchers"]:
                known = ", ".join(self.parts)
                problems.append(f"{name}: the state has this part and the run has not. It has: {known}")
        if problems and not force:
            raise StateError(problems[0])
        for name, part in self.parts.items():
            if name in given:
                try:
                    part.load_state_dict(given[name])
                except (ValueError, RuntimeError, KeyError, TypeError, IndexError, AttributeError) as error:
                    problem = f"{name}: the state does not fit: {reason_of(error)}"
                    if not force:
                        raise StateError(problem) from error
                    problems.append(problem)
        for problem in problems:
            log.warning("%s (left out, as resume_force=true)", problem)


def check_format(state: Mapping[str, Any]) -> None:
    """Raise `StateError` where a state is of another version's format."""
    if "format" not in state:
        raise StateError(
            f"the state is of hookline 0.1 (format 1), and this version reads format {FORMAT}; its weights load with"
            " model.checkpoint_path=FILE"
        )
    if state["format"] != FORMAT:
        raise StateError(f"the state's format is {state['format']}, and this version reads {FORMAT}")


class OptimizerState:
    """What an optimizer keeps of each parameter, and the counters that some keep in their groups.

    Its settings, such as learning rate and momentum, are no part of it: they are the config's, and the schedules set
    them for each update.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state."""
        found = self.optimizer.state_dict()
        settings = self.optimizer.defaults.keys()
        groups = [{key: group[key] for key in group if key not in settings} for group in found["param_groups"]]
        return {"class": type(self.optimizer).__name__, "state": found["state"], "param_groups": groups}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state; raise `ValueError` if it is another class's or of other groups."""
        optimizer = self.optimizer
        if state["class"] != type(optimizer).__name__:
            raise ValueError(f"it is of a {state['class']}, and the run's optimizer is a {type(optimizer).__name__}")
        own = optimizer.state_dict()["param_groups"]
        if len(own) != len(state["param_groups"]):
            raise ValueError(f"it has {len(state['param_groups'])} parameter groups, and the run has {len(own)}")
        groups = [{**settings, **group} for settings, group in zip(own, state["param_groups"], strict=True)]
        kept_groups = list(optimizer.param_groups)
        parameters = [parameter for group in kept_groups for parameter in group["params"]]
        placed = {
            number: {
                key: laid_out_as(parameters[number], value) if isinstance(value, torch.Tensor) else value
                for key, value in kept.items()
            }
            for number, kept in state["state"].items()
        }
        optimizer.load_state_dict({"state": placed, "param_groups": groups})
        # The groups stay the same objects: schedules and loggers hold on to them.
        for group, loaded in zip(kept_groups, optimizer.param_groups, strict=True):
            group.update(loaded)
        optimizer.param_groups[:] = kept_groups
        for parameter, kept in optimizer.state.items():
            for key, value in kept.items():
                # Fused kernels read parameter and state side by side, and take equal memory formats for granted.
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                    laid_out = torch.empty_like(parameter, dtype=value.dtype, memory_format=torch.preserve_format)
                    kept[key] = laid_out.copy_(value)
                elif isinstance(value, torch.Tensor):
                    kept[key] = value.clone()  # the state given stays as it is
