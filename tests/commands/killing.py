"""Hooks that end a run from within, at a moment that a test chooses."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

from hookline.data import SampleTransform
from hookline.hooks import Hook


class Send(Hook):
    """Sends this process a signal in a stage, once so many iterations are done, and perhaps again later in the run."""

    priority = 0

    def __init__(self, name: str, stage: str, after: int, again: str | None = None) -> None:
        self.signal, self.after, self.again, self.sent = getattr(signal, name), after, again, False
        stages = {stage: self.send} | ({again: self.send_again} if again else {})
        methods = {place: lambda hook, runner, method=method: method(runner) for place, method in stages.items()}
        self.__class__ = type("Send", (Send,), methods)

    def send(self, runner) -> None:
        if runner.clock.iter >= self.after and not self.sent:
            self.sent = True
            os.kill(os.getpid(), self.signal)

    def send_again(self, runner) -> None:
        if self.sent:
            os.kill(os.getpid(), self.signal)


class Arm(Hook):
    """Writes the file `armed` after two updates."""

    def after_train_iter(self, runner) -> None:
        if runner.clock.iter == 2:
            Path("armed").touch()


class SendToAll(SampleTransform):
    """In a worker process, sends all processes of the run a signal once the file `armed` is there.

    It waits before, so that the run is waiting for the batch.
    """

    draws = False

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, image, random):
        if multiprocessing.parent_process() is not None:
            try:
                Path("armed").rename("fired")  # in one worker alone: a second SIGINT would end the run at once
            except FileNotFoundError:
                return image
            time.sleep(1)
            os.killpg(os.getpgid(os.getppid()), getattr(signal, self.name))
            os.kill(os.getpid(), getattr(signal, self.name))  # in whatever group it is
        return image
