"""What the time of an iteration is spent on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, schedule

from hookline.config.checks import check_bool, check_number
from hookline.config.files import replacing
from hookline.engine import Hook, Priority, Runner
from hookline.loggers.console import shown

log = logging.getLogger(__name__)

# Operators on the screen, and in the file.
SHOWN, WRITTEN = 10, 100


class ProfilerHook(Hook):
    """Profile some iterations with torch.profiler: a trace, and a table of the slowest operators.

    `profile/trace.json.gz` opens in https://ui.perfetto.dev or chrome://tracing; `profile/operators.txt` has the
    operators by their own time, without that of those that they call; the slowest ones are told on the screen.

    Args:
        wait: iterations before, which may be slower than the rest.
        warmup: iterations after these, in which the profiler runs and what it sees is dropped.
        active: iterations that are profiled.
        memory: note what is allocated, too.
        stack: note the lines of Python that operators are called from, too, which slows them down.
    """

    # The first after the update, so that its steps are iterations from end to end.
    priority = Priority.HIGHEST
    watches = True
    first_only = True

    def __init__(
        self, wait: int = 5, warmup: int = 2, active: int = 5, memory: bool = False, stack: bool = False
    ) -> None:
        check_number("wait", wait, ge=0, integer=True)
        check_number("warmup", warmup, ge=0, integer=True)
        check_number("active", active, gt=0, integer=True)
        check_bool("memory", memory)
        check_bool("stack", stack)
        self.wait, self.warmup, self.active = wait, warmup, active
        self.memory, self.stack = memory, stack
        self._profile: profile | None = None
        self._steps = 0

    def before_run(self, runner: Runner) -> None:
        os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # what the profiler says of itself is not for the screen
        self._cuda = runner.device.type == "cuda"
        self._folder = runner.work_dir / "profile"
        self._profile = profile(
            activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * self._cuda],
            schedule=schedule(wait=self.wait, warmup=self.warmup, active=self.active, repeat=1),
            profile_memory=self.memory,
            with_stack=self.stack,
            acc_events=True,
        )
        self._profile.start()

    def after_train_iter(self, runner: Runner) -> None:
        if self._profile is None:
            return
        self._steps += 1
        if self._steps == self.wait + self.warmup + self.active:
            self._finish(self._profile)
        else:
            self._profile.step()

    def after_run(self, runner: Runner) -> None:
        if self._profile is not None:
            self._finish(self._profile)

    def _finish(self, profiled: profile) -> None:
        self._profile = None
        if self._cuda:
            torch.cuda.synchronize()
        profiled.stop()
        iterations = self._steps - self.wait - self.warmup
        if iterations <= 0:
            before = self.wait + self.warmup
            log.warning("hooks.profiler: the run had %d iterations, and profiling begins after %d", self._steps, before)
            return
        try:
            self._write(profiled, iterations)
        except OSError as error:  # such as a full disk, which must not end the training
            log.warning("the profile could not be written: %s", error.strerror or error)

    def _write(self, profiled: profile, iterations: int) -> None:
        with replacing(self._folder / "trace.json.gz") as path:
            profiled.export_chrome_trace(str(path))
        averages = profiled.key_averages()
        kind = "device" if self._cuda else "cpu"
        table = averages.table(sort_by=f"self_{kind}_time_total", row_limit=WRITTEN, max_name_column_width=80)
        with replacing(self._folder / "operators.txt") as path:
            path.write_text(table)
        operators = [event for event in averages if not event.key.startswith("ProfilerStep")]
        log.info("%s", slowest(operators, iterations, f"self_{kind}_time_total", whole=self._whole(averages)))
        log.info("profile: %s (open the trace in https://ui.perfetto.dev)", shown(self._folder))

    def _whole(self, events: Iterable[Any]) -> float:
        """Return the time of which shares are told, in microseconds, as operators.txt has it.

        That is all of the profiled iterations, what is spent between operators included; on a GPU its kernels' time.
        """
        if not self._cuda:
            return float(sum(event.self_cpu_time_total for event in events))
        kernels = [e for e in events if e.device_type == DeviceType.CUDA and not e.is_user_annotation]
        return float(sum(event.self_device_time_total for event in kernels))


def slowest(operators: list[Any], iterations: int, time: str, whole: float) -> str:
    """Return a table of the operators with the most own time, which it needs 80 columns for.

    Args:
        operators: averages of `torch.profiler`, with `key`, `count` and a time in microseconds.
        iterations: how many were profiled.
        time: the attribute that holds the time.
        whole: the time of which shares are told, in microseconds.
    """
    ordered = sorted(operators, key=lambda operator: getattr(operator, time), reverse=True)
    lines = [f"slowest operators of {iterations} iterations, each without those that it calls:"]
    lines.append("   share  ms/iteration  calls/iteration  operator")
    for operator in ordered[:SHOWN]:
        own = getattr(operator, time)
        name = operator.key if len(operator.key) <= 36 else f"{operator.key[:35]}…"
        calls = operator.count / iterations
        lines.append(f"  {100 * own / (whole or 1.0):4.1f} %  {own / 1000 / iterations:12.3f}  {calls:15.1f}  {name}")
    return "\n".join(lines)
