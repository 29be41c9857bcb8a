"""What a hook is.

The runner calls the methods of its hooks like this:

    before_run
    (the state of an interrupted run is taken up)
    for each epoch:
        before_train_epoch               # not again where a resumed run continues in mid-epoch
        for each batch:
            before_train_iter            # the schedules set learning rate and momentum here
            (update: forward, loss, before_backward, backward, clipping, step)
            after_train_iter             # watchers note loss, times, learning rates
            (the clock moves on)
            after_record                 # if numbers were given to runner.log, such as an evaluation's
            between_updates              # the run's state is whole: checkpoints
        after_train_epoch                # the evaluation hook runs the validation set from here:
            before_val_epoch
            for each batch: before_val_iter, (forward), after_val_iter
            after_val_epoch
        (the epoch counts as ended)
        after_record                     # the epoch's row is in runner.history, runner.best is up to date
        between_updates
    after_run                            # always, whatever happened; runner.status says what
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from hookline.config.errors import ParameterError

if TYPE_CHECKING:
    from hookline.engine.runner import Runner

STAGES = (
    "before_run",
    "before_train_epoch",
    "before_train_iter",
    "before_backward",
    "after_train_iter",
    "after_train_epoch",
    "before_val_epoch",
    "before_val_iter",
    "after_val_iter",
    "after_val_epoch",
    "after_record",
    "between_updates",
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
    """Base class of everything that acts during training, and of everything that watches it.

    Override the stages that you need; the others cost nothing, not even a call. `before_iter`, `after_iter`,
    `before_epoch` and `after_epoch` serve training and validation alike, where the stage's own method is not
    overridden.

    Advice to writers: read what you need from the runner (`runner.outputs`, `runner.batch`, `runner.clock`,
    `runner.history`, ...) and do not import other hooks. Don't call `.item()` each iteration: on a GPU it waits for the
    device; give `runner.sums.add` the tensor and read a mean when `runner.clock.due(interval)` says that it is time.
    Numbers for the history go to `runner.log`. `runner.stop(reason)` ends the run after the current iteration. What
    must survive an interruption goes through `state_dict`. Random numbers from torch's generators change nothing for
    the model; Python's and NumPy's generators are shared by all who draw from them.

    Attributes:
        name: the hook's name in the config, under which its state is kept; the runner gives one to a hook without.
        priority: lower is called first; hooks of equal priority are called in the order of the config.
        watches: whether the hook only watches: an interrupted run may go on without it.
        first_only: of several processes, only the first calls the hook: it writes files or speaks, and takes no part in
            what they compute together.
        others_wait: whether the hook, though all processes call it, may take one of them so long that the others have
            to wait for it, as for an upload; with `first_only` it may anyway. In other hooks a process that keeps the
            others waiting for `distributed.silence` seconds counts as hung.
    """

    name: str = ""
    watches: bool = False
    first_only: bool = False
    others_wait: bool = False
    priority: int = Priority.NORMAL

    def before_run(self, runner: Runner) -> None:
        """Called once in each process, before its first iteration and before an interrupted run's state is loaded."""

    def after_run(self, runner: Runner) -> None:
        """Called once at the end, also where the run failed; `runner.status` says how it ended."""

    def before_epoch(self, runner: Runner) -> None:
        """Called before an epoch of either mode."""

    def after_epoch(self, runner: Runner) -> None:
        """Called after an epoch of either mode."""

    def before_iter(self, runner: Runner) -> None:
        """Called before an iteration of either mode; `runner.batch` is the one to come."""

    def after_iter(self, runner: Runner) -> None:
        """Called after an iteration of either mode; `runner.outputs` holds what came of the batch."""

    def before_train_epoch(self, runner: Runner) -> None:
        """Called before a training epoch."""
        self.before_epoch(runner)

    def before_train_iter(self, runner: Runner) -> None:
        """Called before an update; the hook may replace `runner.batch`."""
        self.before_iter(runner)

    def before_backward(self, runner: Runner) -> None:
        """Called when the loss of a batch, or of each of its micro-batches, is known and can still be changed.

        `runner.outputs` holds `loss` and `logits` with their graph, `runner.batch` the samples that they are of. To
        train on another loss, put its mean over these samples into `runner.outputs["loss"]`; it counts by the
        micro-batch's share of the batch, so the effect is the same for any number of micro-batches.
        """

    def after_train_iter(self, runner: Runner) -> None:
        """Called after an update; `runner.outputs` holds the batch's `loss` and `logits`, whose graph is used up."""
        self.after_iter(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Called after a training epoch's last update; what is given to `runner.log` here is the epoch's."""
        self.after_epoch(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Called before a pass over the validation set."""
        self.before_epoch(runner)

    def before_val_iter(self, runner: Runner) -> None:
        """Called before the forward pass of a validation batch."""
        self.before_iter(runner)

    def after_val_iter(self, runner: Runner) -> None:
        """Called after the forward pass of a validation batch; `runner.outputs` holds `logits`."""
        self.after_iter(runner)

    def after_val_epoch(self, runner: Runner) -> None:
        """Called after a pass over the validation set; `runner.numbers` holds what it measured."""
        self.after_epoch(runner)

    def after_record(self, runner: Runner) -> None:
        """Called when a row of numbers was appended to `runner.history`; `runner.best` is up to date."""

    def between_updates(self, runner: Runner) -> None:
        """Called after an update and its row, and after an epoch and its row: the run's state is whole.

        The clock counts finished updates here.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold of this hook: tensors, numbers, strings, lists and dicts."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave; called after `before_run`."""

    @property
    def has_state(self) -> bool:
        """Whether the hook has anything for a checkpoint."""
        return type(self).state_dict is not Hook.state_dict


def sort_hooks(hooks: Sequence[Hook]) -> list[Hook]:
    """Return the hooks by priority, those of equal priority in the order given."""
    return sorted(hooks, key=lambda hook: hook.priority)


def calls_of(hooks: Sequence[Hook], stage: str) -> list[tuple[Hook, Callable[[Runner], None]]]:
    """Return the hooks that override `stage`, or the method of both modes, and the methods to call."""
    shared = stage.replace("_train_", "_").replace("_val_", "_")
    calls = []
    for hook in hooks:
        for name in dict.fromkeys((stage, shared)):
            if getattr(type(hook), name) is not getattr(Hook, name):
                calls.append((hook, getattr(hook, name)))
                break
    return calls
