"""What a hook is.

The runner calls the methods of its hooks like this:

    before_run
    for each epoch:
        before_train_epoch
        for each batch:
            before_train_iter      # the schedules set learning rate and momentum here
            (forward, loss)
            after_train_iter       # backward and optimizer step, then timing and logs
        after_train_epoch          # the evaluation hook runs the val loop from here:
            before_val_epoch
            for each batch: before_val_iter, (forward), after_val_iter
            after_val_epoch
    after_run
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from hookline.config.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hookline.engine import Runner

STAGES = (
    "before_run",
    "before_train_epoch",
    "before_train_iter",
    "after_train_iter",
    "after_train_epoch",
    "before_val_epoch",
    "before_val_iter",
    "after_val_iter",
    "after_val_epoch",
    "after_run",
)


class Priority(IntEnum):
    """When a hook is called within a stage: lower comes first."""

    HIGHEST = 0
    VERY_HIGH = 10
    HIGH = 30
    ABOVE_NORMAL = 40
    NORMAL = 50
    BELOW_NORMAL = 60
    LOW = 70
    VERY_LOW = 90
    LOWEST = 100

    @classmethod
    def parse(cls, value: int | str) -> int:
        """Return the number of a priority given by name or as a number from 0 to 100."""
        if isinstance(value, str) and value.upper() in cls.__members__:
            return int(cls[value.upper()])
        if isinstance(value, int) and not isinstance(value, bool) and cls.HIGHEST <= value <= cls.LOWEST:
            return int(value)
        raise ParameterError("priority", value, f"0 to 100, or one of {', '.join(cls.__members__)}")

    @classmethod
    def describe(cls, value: int) -> str:
        """Return the name of a priority, or its number where it has none."""
        return next((member.name for member in cls if member == value), str(value))


class Hook:
    """Base class of everything that acts during training.

    Override the stages that you need; the others cost nothing, not even a call. `before_iter`, `after_iter`,
    `before_epoch` and `after_epoch` serve training and validation alike, where the stage's own method is not
    overridden.

    Advice to writers: read what you need from the runner (`runner.outputs`, `runner.clock`, `runner.metrics`, ...) and
    do not import other hooks. Don't call `.item()` each iteration: on a GPU it waits for the device. Give
    `runner.metrics.add` the tensor and read a mean at your interval. What must survive an interruption goes through
    `state_dict`.
    """

    priority: int = Priority.NORMAL

    # A hook that acts now and then sets this, in `before_run` at the latest, and is not called in between: its
    # `after_train_iter` is called at the first iteration, the last one, and where i or i + 1 is a multiple of it.
    every: int = 1

    def before_run(self, runner: Runner) -> None:
        """Called once, before the first epoch."""

    def after_run(self, runner: Runner) -> None:
        """Called once, after the last epoch."""

    def before_epoch(self, runner: Runner) -> None:
        """Called before an epoch of either mode."""

    def after_epoch(self, runner: Runner) -> None:
        """Called after an epoch of either mode."""

    def before_iter(self, runner: Runner) -> None:
        """Called before an iteration of either mode; `runner.batch` is the one to come."""

    def after_iter(self, runner: Runner) -> None:
        """Called after an iteration of either mode; `runner.outputs` holds `loss` and `logits`."""

    def before_train_epoch(self, runner: Runner) -> None:
        """Called before a training epoch."""
        self.before_epoch(runner)

    def before_train_iter(self, runner: Runner) -> None:
        """Called before the forward pass of a training iteration."""
        self.before_iter(runner)

    def after_train_iter(self, runner: Runner) -> None:
        """Called after the loss of a training iteration is known."""
        self.after_iter(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Called after a training epoch."""
        self.after_epoch(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Called before a pass over the validation set."""
        self.before_epoch(runner)

    def before_val_iter(self, runner: Runner) -> None:
        """Called before the forward pass of a validation batch."""
        self.before_iter(runner)

    def after_val_iter(self, runner: Runner) -> None:
        """Called after the forward pass of a validation batch."""
        self.after_iter(runner)

    def after_val_epoch(self, runner: Runner) -> None:
        """Called after a pass over the validation set."""
        self.after_epoch(runner)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold of this hook: tensors, numbers, strings, lists and dicts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""


def sort_hooks(hooks: Sequence[Hook]) -> list[Hook]:
    """Return the hooks by priority, those of equal priority in the order given."""
    return sorted(hooks, key=lambda hook: hook.priority)


def calls_of(hooks: Sequence[Hook], stage: str) -> tuple[Callable[[Runner], None], ...]:
    """Return the methods to call at `stage`: those that a hook overrides, for the stage or for both modes."""
    shared = stage.replace("_train_", "_").replace("_val_", "_")
    calls = []
    for hook in hooks:
        for name in dict.fromkeys((stage, shared)):
            if getattr(type(hook), name) is not getattr(Hook, name):
                calls.append(getattr(hook, name))
                break
    return tuple(calls)
