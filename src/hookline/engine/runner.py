"""The loop. It moves the clock, updates the weights and calls hooks; everything else is a hook."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

from hookline.config.errors import told_of
from hookline.data.batch import Batch
from hookline.data.loader import Loader
from hookline.data.randomness import seed_of
from hookline.engine.device import Generators
from hookline.engine.evaluate import evaluate
from hookline.engine.forward import evaluating
from hookline.engine.hook import STAGES, Hook, Priority, calls_of, sort_hooks
from hookline.engine.monitor import is_better, losses_finite, mode_of
from hookline.engine.numbers import plain_numbers
from hookline.engine.run_state import OptimizerState, RunState, Stateful
from hookline.engine.sums import Sums
from hookline.engine.update import Outputs, Update
from hookline.engine.validation import AfterEach, BeforeEach, Gathered
from hookline.engine.workflow import phases_of
from hookline.job import Job
from hookline.metrics import Metric
from hookline.schedules import Clock, Curve

log = logging.getLogger(__name__)

# Where the loop is: a stage and the hook that is being called in it, or what is done between the stages.
Place = tuple[str, Hook | None]
LOOP: Place = ("loop", None)
DATA: Place = ("data", None)
UPDATE: Place = ("update", None)
EVALUATION: Place = ("evaluation", None)


class Interrupted(BaseException):
    """The run was asked to end, by a signal, and did so between two updates or in an evaluation."""


@dataclass(frozen=True)
class Failure:
    """Why a run failed.

    Attributes:
        reason: the error's kind and text.
        stage: the stage that was being called, or `update`, `data` or `loop`.
        hook: the name of the hook that raised it; None if it was none.
    """

    reason: str
    stage: str
    hook: str | None


class Runner:
    """Train epoch by epoch, calling hooks at the stages that `hookline.engine.hook` shows.

    Args:
        update: what a batch does to the weights; it holds model, loss and optimizer, and says how several processes
            share it.
        train_loader: the training batches.
        clock: the start of the run, which says how long it is.
        val_loader: the validation batches; None for no validation.
        metrics: what `evaluate` measures.
        schedules: by parameter-group field (`lr`, `momentum`, ...), the curves that drive the optimizer.
        hooks: what acts and watches.
        monitor: the number of the history that decides which row is best.
        mode: `min` or `max`: which way is better. None: `min` for a loss or an error, `max` for an accuracy.
        seed: of what the model draws itself, such as dropout. Torch's generators are seeded for each update by (seed,
            iteration), Python's and NumPy's for each epoch.
        job: the run directory, and the config that the run was made from.
        workflow: pairs of `train` or `val` and a number of epochs, gone through again and again: `[("train", 2),
            ("val", 1)]` makes a pass over the validation set after every second epoch. A `val` epoch calls the val
            stages alone and changes no weights; it is independent of the evaluation hook.

    Attributes:
        clock: the position in the run (`epoch`, `iter`) and its length.
        processes: which of how many processes this one is.
        mode: `train` or `val`.
        batch: the batch at hand, or this process's share of it.
        outputs: what came of it: `loss` (in training), `logits`, and what else the update gives. With several
            processes, scalars are the whole batch's; after a validation batch, it and its logits are whole, too.
        waited: seconds that the loop waited for the batch at hand.
        sums: running sums of what training measures.
        numbers: what was given to `log` since the last row of the history.
        recorded: the numbers that the newest row got last.
        history: the rows of numbers recorded so far, each with `epoch` and `iterations`, which count finished ones;
            one row for each number of iterations.
        best: the row of the history that did best by `monitor`, or empty.
        averages: other models that are evaluated beside the run's own, such as averages of its weights, by name.
        newest_state: returns the newest state that the run can go back to, None if there is none; a hook that keeps
            states puts its own function here.
        on_error: called with the error that ends the run, before hooks are called for its end.
        first_iter: the iteration that this process began with.
        resumed: whether the run took up an earlier one's state.
        stop_training: whether the run ends after the current iteration; `stop` sets it, in all processes at once.
        status: `running`, and at the end `completed`, `stopped`, `diverged`, `interrupted` or `failed`.
        failure: why it failed; None if it did not.
        aborted: whether it was told to end at once, without a last checkpoint.
    """

    def __init__(
        self,
        *,
        update: Update,
        train_loader: Loader,
        clock: Clock,
        val_loader: Loader | None = None,
        metrics: Sequence[Metric] = (),
        schedules: Mapping[str, Curve] | None = None,
        hooks: Iterable[Hook] = (),
        monitor: str = "val/top1",
        mode: str | None = None,
        seed: int = 0,
        job: Job | None = None,
        workflow: Sequence[tuple[str, int]] = (("train", 1),),
    ) -> None:
        self.update = update
        self.processes = update.parallel.processes
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.metrics = list(metrics)
        self.schedules = dict(schedules or {})
        self.monitor = monitor
        self.monitor_mode = mode_of(monitor, mode)
        self.seed = seed
        self.job = job or Job(Path())
        self.phases = phases_of(workflow)

        self.history: list[dict[str, float]] = []
        self.best: dict[str, float] = {}
        self.numbers: dict[str, float] = {}
        self.recorded: dict[str, float] = {}
        self.averages: dict[str, nn.Module] = {}
        self.sums = Sums()
        self.newest_state: Callable[[], dict[str, Any] | None] = lambda: None
        self.on_error: Callable[[BaseException], None] = lambda error: None
        self.generators = Generators(update.device, self.processes.rank)
        self.clock = clock
        clock.history = self.history

        self.mode = "train"
        self.batch: Any = None
        self.outputs: Outputs = {}
        self.waited = 0.0
        self.first_iter = 0
        self.resumed = False
        self.stop_training = False
        self.stop_reason = ""
        self.stop_status = "stopped"
        self.status = "running"
        self.failure: Failure | None = None
        self.aborted = False

        self.hooks: list[Hook] = []
        self._calls: dict[str, list[tuple[Place, Callable[[Runner], None]]]] = {stage: [] for stage in STAGES}
        self._at: Place = LOOP
        # A state can be taken once the hooks are ready.
        self._whole = False
        # Whether an update was done since the start, and since a state was taken up.
        self._settled = False
        self._before_end: dict[str, Any] | None = None
        self._rewind_to: Mapping[str, Any] | None = None
        self._signal: str | None = None
        # What this process asks for, and all do once they have agreed.
        self._asked: tuple[str, str] | None = None
        self.register_hooks(hooks)

    @property
    def model(self) -> nn.Module:
        """The model that is trained."""
        return self.update.model

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer."""
        return self.update.optimizer

    @property
    def device(self) -> torch.device:
        """The device that the model and the batches lie on."""
        return self.update.device

    @property
    def work_dir(self) -> Path:
        """The run directory, in which hooks write files."""
        return self.job.directory

    def register_hooks(self, hooks: Iterable[Hook]) -> None:
        """Add hooks; within a stage they are called by priority, and in the order given where it is equal.

        A hook without a name gets its class's (`TrainMetricsHook` is `train_metrics`), with a number if that is taken.
        """
        names = {hook.name for hook in self.hooks}
        for hook in hooks:
            base, number = hook.name or _name_of(type(hook)), 2
            hook.name = base
            while hook.name in names:
                hook.name, number = f"{base}_{number}", number + 1
            names.add(hook.name)
            self.hooks.append(hook)
        self.hooks = sort_hooks(self.hooks)
        own = [hook for hook in self.hooks if self.processes.first or not hook.first_only]
        # Each call with the place that an error in it is told to come from, made once: this runs every iteration.
        self._calls = {stage: [((stage, hook), call) for hook, call in calls_of(own, stage)] for stage in STAGES}

    def describe_hooks(self) -> str:
        """Return a table of the hooks that each stage calls, in order."""
        lines = []
        for stage, calls in self._calls.items():
            if calls:
                hooks = [hook for (_, hook), _ in calls if hook is not None]
                named = ", ".join(f"{hook.name} ({Priority.describe(hook.priority)})" for hook in hooks)
                lines.append(f"  {stage:<19}{named}")
        return "\n".join(lines)

    def call(self, stage: str) -> None:
        """Call every hook that overrides `stage`."""
        outer = self._at
        for place, call in self._calls[stage]:
            self._at = place
            call(self)
        self._at = outer

    def log(self, numbers: Mapping[str, float]) -> None:
        """Add numbers to the row of the history that this iteration, or this epoch's end, is recorded with.

        Args:
            numbers: by name; a tensor or NumPy array of one number is one, too, and a tensor on a GPU is waited for.

        Raises:
            TypeError, ValueError: one is no number, or has the name `epoch` or `iterations`.
        """
        self.numbers.update(plain_numbers(numbers))

    def stop(self, reason: str, status: str = "stopped") -> None:
        """End the run after the current iteration, with this status: `stopped`, or `diverged`.

        Of several processes any can; `stop_training` is set in all of them once the hooks of the stage are done.
        """
        if self.processes.count > 1:
            self._asked = reason, status
        else:
            self.stop_training, self.stop_reason, self.stop_status = True, reason, status

    def interrupt(self, signal: str) -> None:
        """End the run as soon as its state is whole; called from a signal's handler. The first signal is the cause."""
        self._signal = self._signal or signal

    def check_interrupt(self) -> None:
        """Raise `Interrupted` if the run, by any of its processes, was asked to end."""
        signal = self._agree()[1]
        if signal is not None:
            raise Interrupted(signal)

    def _agree(self) -> tuple[bool, str | None]:
        """Let all processes know what one of them asks for.

        Returns:
            whether there are numbers to record, which the first process decides, and by which signal the run ends.
        """
        numbers, signal = bool(self.numbers), self._signal
        if self.processes.count == 1:
            return numbers, signal
        numbers, asked = self.processes.any(numbers and self.processes.first, bool(self._asked or signal))
        if not asked:
            return numbers, None
        answers = self.processes.of_each((self._asked, signal))
        self._asked = None
        for request, _ in answers:
            if request is not None:
                self.stop_training, (self.stop_reason, self.stop_status) = True, request
        return numbers, next((found for _, found in answers if found is not None), None)

    @property
    def place(self) -> str:
        """Where the loop is, in words."""
        stage, hook = self._at
        return f"{f'hooks.{hook.name}, in {stage}' if hook else stage} of iteration {self.clock.iter + 1}"

    @property
    def others_wait(self) -> bool:
        """Whether what the loop does now may take one of several processes long while the others wait for it.

        That is what goes on before the first update and after the last one, waiting for data, compiling, and the hooks
        that say so of themselves. An update, an evaluation and other hooks take all processes about as long.
        """
        stage, hook = self._at
        if hook is not None and (hook.first_only or hook.others_wait):
            return True
        compiles = bool(self.update.forward.compile) and self._at in (UPDATE, EVALUATION)
        return compiles or stage == DATA[0] or not self._settled or self.status != "running"

    def waiting_for(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield batches; until each is there, the loop's place is `data`."""
        outer = self._at
        while True:
            self._at = DATA
            batch = next(batches, None)
            self._at = outer
            if batch is None:
                return
            yield batch

    @property
    def can_break_off(self) -> bool:
        """Whether an epoch's end, or a val epoch, is under way: broken off, it is done again from its beginning."""
        return self._before_end is not None

    def rewind(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier state of this run once this iteration is over; called in `between_updates`."""
        self._rewind_to = state

    def run(
        self,
        state: Mapping[str, Any] | None = None,
        force: bool = False,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """Train to the end, from the start or from where an earlier run's state stands.

        However it ends, `after_run` is called on every hook, with `status` set. An error is raised again after that,
        and so is `Interrupted`.

        Args:
            state: what `state_dict` gave.
            force: take up of it what fits, and leave out the rest.
            begin: called once the hooks are ready and the state, if there is one, was taken up.
        """
        self.resumed = state is not None
        try:
            self.call("before_run")
            if state is not None:
                self.load_state_dict(state, force)
            self.first_iter = self.clock.iter
            self._whole = True
            self._agree()
            begin()
            while not self._over():
                if self.phases[self.clock.phase % len(self.phases)] == "val":
                    self.val_epoch()
                else:
                    self.train_epoch()
                if self._rewind_to is not None:
                    earlier, self._rewind_to = self._rewind_to, None
                    self._settled = False
                    self.load_state_dict(earlier)
            if self._agree()[0]:  # of an evaluation after the last row
                self._record(self.clock.epoch)
            # A run that is stopped in its last iteration has reached its end, unless it got nowhere.
            early = self.stop_training and (self.stop_status != "stopped" or not self.clock.finished)
            self.status = self.stop_status if early else "completed"
            if self.status != "diverged" and self.history and not losses_finite(self.history[-1]):
                self.status, self.stop_reason = "diverged", "the loss is not finite"
        except BaseException as error:
            self._failed(error)
            self.on_error(error)
            self._end()
            raise
        errors = self._end()
        if errors:
            raise errors[0]

    def _over(self) -> bool:
        """Say whether nothing is left to do."""
        next_phase = self.phases[self.clock.phase % len(self.phases)]
        return self.stop_training or (self.clock.finished and next_phase == "train")

    def train_epoch(self) -> None:
        """Run what is left of a training epoch, or of the run if that is less."""
        clock, start = self.clock, self.clock.position
        self.mode = "train"
        self._whole, self._at = False, UPDATE
        self.update.begin_epoch(clock.epoch)
        self._at = LOOP
        if start == 0:
            self.generators.seed(seed_of(self.seed, "epoch", clock.epoch))
            self.call("before_train_epoch")
            if self._agree()[0]:  # of an evaluation before training
                self._record(clock.epoch)
        before, after = self._calls["before_train_iter"], self._calls["after_train_iter"]
        between = self._calls["between_updates"]
        before_backward = self._before_backward if self._calls["before_backward"] else None
        # A seed for each update; the generators take consecutive ones well.
        seed, alone = seed_of(self.seed, "updates", *self._own), self.processes.count == 1
        batches = self.train_loader.batches(clock.epoch, start)
        while clock.iter < clock.max_iters:
            asked, self._at = perf_counter(), DATA
            batch = next(batches, None)
            if batch is None:
                if clock.position < clock.iters_per_epoch:
                    raise RuntimeError(
                        f"the loader gave {clock.position} batches in epoch {clock.epoch + 1}, and its length is"
                        f" {clock.iters_per_epoch}"
                    )
                break
            self.waited, self.batch, self._whole = perf_counter() - asked, batch, False
            for self._at, call in before:
                call(self)
            if not alone and self.batch.whole is None:  # a hook has put another one in its place
                self.batch.whole = batch.whole
            self._at = UPDATE
            # After the hooks, so that what they draw changes nothing.
            self.generators.seed_torch(seed + clock.iter)
            self.outputs = self.update(self.batch, before_backward)
            for self._at, call in after:
                call(self)
            self._at = LOOP
            clock.iter += 1
            self._settled = True
            if self.numbers if alone else self._agree()[0]:
                self._record(clock.iter / clock.iters_per_epoch)
            self._whole = True
            for self._at, call in between:
                call(self)
            self._at = LOOP
            if self._signal is not None or not alone:
                self.check_interrupt()
            if self._rewind_to is not None:
                return
            if self.stop_training:
                break
        self._at = LOOP
        # An epoch's end may take long; broken off, it is done again from here.
        self._before_end = self.state.state_dict()
        self._whole = False
        self.call("after_train_epoch")
        clock.epoch += 1
        self._end_phase()

    def val_epoch(self) -> None:
        """Make a pass over the validation set as the workflow's next phase."""
        self._before_end = self.state.state_dict()
        self._whole = False
        self.evaluate()
        self._end_phase()

    def _end_phase(self) -> None:
        self.clock.phase += 1
        self._record(self.clock.epoch)
        self._whole, self._before_end = True, None
        self.call("between_updates")
        self.check_interrupt()

    def evaluate(self, model: nn.Module | None = None, name: str = "val") -> dict[str, float]:
        """Measure the model, or another in its place, on the whole validation set, and log the numbers.

        Args:
            model: None for the run's own.
            name: what the numbers' names begin with: `val` makes `val/top1`.

        Returns:
            the numbers by their full names.
        """
        if self.val_loader is None:
            raise RuntimeError("there is no validation set to evaluate on")
        forward = self.update.forward if model is None else self.update.forward.of(model)
        outer, place = (self.mode, self.batch, self.outputs, self._whole), self._at
        self.mode, self._whole = "val", False
        try:
            with evaluating(forward.model):
                self._at = EVALUATION
                self.call("before_val_epoch")
                batches = BeforeEach(self, seed_of(self.seed, name, self.clock.iter, *self._own))
                found = evaluate(forward, batches, self._measures())
                numbers = plain_numbers({f"{name}/{key}": value for key, value in found.items()})
                numbers = self.processes.of_first(numbers)
                self.log(numbers)
                self.call("after_val_epoch")
        finally:
            if self._at == EVALUATION:  # else a hook has failed, or the loader: that is the place
                self._at = place
            self.mode, self.batch, self.outputs, self._whole = outer
        return numbers

    def _measures(self) -> list[Metric]:
        """Return what sees the whole of each validation batch."""
        measures = [*self.metrics, AfterEach(self)]
        if self.processes.count == 1:
            return measures
        return [Gathered(self.processes, measures, images=bool(calls_of(self.hooks, "after_val_iter")))]

    @property
    def _own(self) -> tuple[int, ...]:
        """Of what this process draws for itself: the first one draws what a single one does."""
        return () if self.processes.first else (self.processes.rank,)

    @property
    def state(self) -> RunState:
        """The named parts of the run's state."""
        parts: dict[str, Stateful] = {
            "model": self.model,
            "optimizer": OptimizerState(self.optimizer),
            "scaler": self.update.scaler,
            "clock": self.clock,
            "random": self.generators,
            "sums": self.sums,
            "history": _History(self),
            "loader": self.train_loader,
        }
        if self.update.has_state:
            parts["update"] = self.update
        hooks = {f"hooks.{hook.name}": hook for hook in self.hooks if hook.has_state}
        watchers = [name for name, hook in hooks.items() if hook.watches or hook.first_only]
        if not self.processes.first:
            hooks = {name: hook for name, hook in hooks.items() if not hook.first_only}
        return RunState(parts | hooks, watchers)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the run (see `RunState`).

        Raises:
            RuntimeError: an update, or what follows it, is under way.
        """
        if not self._whole:
            raise RuntimeError("a run's state can be taken only between two updates: in a hook's between_updates")
        return self.state.state_dict()

    def resumable_state(self) -> dict[str, Any] | None:
        """Return the newest state from which the run can go on, also while an epoch's end is under way.

        None while an update is under way.
        """
        return self.state.state_dict() if self._whole else self._before_end

    def load_state_dict(self, state: Mapping[str, Any], force: bool = False) -> None:
        """Take up what `state_dict` gave; `run` does it after `before_run`, which hooks need to have been called for.

        Args:
            state: what `state_dict` gave.
            force: leave out what does not fit, and warn of it.

        Raises:
            StateError: a part is missing, unknown or does not fit.
        """
        epoch = state["parts"]["clock"]["epoch"] if "parts" in state else 0
        self.state.load_state_dict(state, force)
        if self.clock.epoch < epoch:  # an epoch that was cut short is open again, and what came after it is not over
            while self.phases[self.clock.phase % len(self.phases)] != "train":
                self.clock.phase -= 1

    def _before_backward(self, outputs: Outputs, part: Batch) -> None:
        whole, self.batch, self.outputs = self.batch, part, outputs
        # The model draws for the next micro-batch what it would have drawn without hooks.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            self.call("before_backward")
        if self.outputs is not outputs:  # a hook has put another mapping in its place
            replaced = dict(self.outputs)
            outputs.clear()
            outputs.update(replaced)
        self.batch = whole

    def _record(self, epoch: float) -> None:
        """Put what was logged into the history's row of this many iterations, and let hooks see it.

        What they log while they see it is put there as well, and shown to them once.
        """
        self._record_once(epoch)
        if self._agree()[0]:
            self._record_once(epoch)
            self._agree()

    def _record_once(self, epoch: float) -> None:
        self.recorded, self.numbers = self.processes.of_first(self.numbers), {}
        if not self.history or self.history[-1]["iterations"] != self.clock.iter:
            self.history.append({"epoch": epoch, "iterations": self.clock.iter})
        self.history[-1].update(epoch=epoch, **self.recorded)
        self._note_best(self.history[-1])
        self.call("after_record")

    def _note_best(self, row: Mapping[str, float]) -> None:
        """Make `best` this row if it does better than the best before, or is a newer form of the best."""
        value = row.get(self.monitor, math.nan) if losses_finite(row) else math.nan
        same = self.best.get("iterations") == row["iterations"]
        if same or is_better(value, self.best.get(self.monitor), self.monitor_mode):
            self.best = dict(row)

    def _failed(self, error: BaseException) -> None:
        stage, hook = self._at
        if isinstance(error, Interrupted):
            self.status, self.stop_reason = "interrupted", str(error)
            return
        self.aborted = isinstance(error, KeyboardInterrupt)
        self.status = "interrupted" if self.aborted else "failed"
        self.failure = Failure(told_of(error), stage, hook.name if hook else None)

    def _end(self) -> list[BaseException]:
        """Call `after_run` on every hook, and return what was raised on the way."""
        errors: list[BaseException] = []
        calls = self._calls["after_run"]
        for self._at, call in calls:
            try:
                call(self)
            except BaseException as error:  # also Ctrl-C: it must not keep the others from being called
                log.debug("a hook failed in after_run", exc_info=True)
                errors.append(error)
                if self.failure is None:
                    self._failed(error)
        return errors


class _History:
    """The history as a part of the state, with the numbers that wait for the next row; the best row follows from it."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def state_dict(self) -> dict[str, Any]:
        return {"rows": [dict(row) for row in self.runner.history], "waiting": dict(self.runner.numbers)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        runner, clock = self.runner, self.runner.clock
        # The row of an epoch that the earlier run's end cut short is not there when that epoch goes on.
        done = max(clock.epoch, clock.iter / clock.iters_per_epoch)
        runner.history[:] = [dict(row) for row in state["rows"] if row["epoch"] <= done]
        runner.numbers = dict(state["waiting"])
        runner.best = {}
        for row in runner.history:
            runner._note_best(row)


def _name_of(kind: type) -> str:
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", kind.__name__.removesuffix("Hook"))
    return "_".join(words).lower() or "hook"
