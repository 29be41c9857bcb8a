"""Hooks that end a run from within, at a moment that a test chooses."""

from __future__ import annotations

import os
import signal

from hookline.hooks import Hook


class Send(Hook):
    """Sends a signal in a stage, once so many iterations are done, and perhaps again later in the run.

    It goes to this process, or to all of its group.
    """

    priority = 0

    def __init__(self, name: str, stage: str, after: int, again: str | None = None, to_all: bool = False) -> None:
        self.signal, self.after, self.again, self.sent = getattr(signal, name), after, again, False
        self.group = 0 if to_all else None
        stages = {stage: self.send} | ({again: self.send_again} if again else {})
        methods = {place: lambda hook, runner, method=method: method(runner) for place, method in stages.items()}
        self.__class__ = type("Send", (Send,), methods)

    def send(self, runner) -> None:
        if runner.clock.iter >= self.after and not self.sent:
            self.sent = True
            if self.group is None:
                os.kill(os.getpid(), self.signal)
            else:
                os.killpg(self.group, self.signal)

    def send_again(self, runner) -> None:
        if self.sent:
            os.kill(os.getpid(), self.signal)
