"""Writing checkpoints while training goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hookline.checkpoint.files import write

# Seconds before each further try of a write that failed: a disk may be full for a moment only.
RETRIES = (0.2, 1.0)


class Writer:
    """Writes one checkpoint at a time in a thread of its own, from a copy of the state.

    The loop waits for the copy alone: into buffers that are kept from one save to the next, in one call for all tensors
    of a device. On CUDA the buffers are pinned and the copies run on a stream of their own, which the next update waits
    for on the device.

    Args:
        write_as: puts a copy of the content into its place; None: as one file.
    """

    def __init__(self, write_as: Callable[[Path, Mapping[str, Any]], None] | None = None) -> None:
        self._write_as = write_as
        self._buffers: dict[tuple[str, ...], Tensor] = {}
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

    def submit(self, path: Path, content: Mapping[str, Any], then: Callable[[], None] = lambda: None) -> None:
        """Copy the content and begin to write it; first wait for the write before to end.

        Args:
            path: the checkpoint file.
            content: its tensors may change as soon as this returns.
            then: called in the writer's thread once the file is in its place.
        """
        self.join()
        copied, ready = self._copy(content)
        # A daemon: a program that is told to end at once does not wait for it, and a file is whole or not there.
        arguments = (path, copied, ready, then)
        self._thread = threading.Thread(target=self._run, args=arguments, name="checkpoint", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a write is under way."""
        return self._thread is not None and self._thread.is_alive()

    def join(self) -> None:
        """Wait for the write under way to end."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def take_error(self) -> Exception | None:
        """Return why the last write failed, once; None if it did not, or is under way."""
        if self.busy:
            return None
        error, self._error = self._error, None
        return error

    def _run(self, path: Path, content: Any, ready: list[torch.cuda.Event], then: Callable[[], None]) -> None:
        for event in ready:
            event.synchronize()
        # What several processes write together they do again together, but not for what one of them does after it.
        if self._done(lambda: (self._write_as or write)(path, content)):
            self._done(then)

    def _done(self, act: Callable[[], None]) -> bool:
        """Say whether something was done, after further tries if need be; if not, `take_error` says why."""
        for wait in (*RETRIES, None):
            try:
                act()
            except Exception as error:  # torch shows a full disk as a RuntimeError
                if wait is None:
                    self._error = error
                else:
                    time.sleep(wait)
            else:
                return True
        return False

    def _copy(self, content: Any) -> tuple[Any, list[torch.cuda.Event]]:
        """Return the content with its tensors copied into buffers on the CPU, and what says that they are filled."""
        sources: dict[torch.device, tuple[list[Tensor], list[Tensor]]] = {}
        used: dict[tuple[str, ...], Tensor] = {}

        def buffered(value: Any, place: tuple[str, ...]) -> Any:
            if isinstance(value, Tensor):
                buffer = self._buffers.get(place)
                if buffer is None or buffer.shape != value.shape or buffer.dtype != value.dtype:
                    pinned = value.device.type == "cuda"
                    # A copy of the memory format, so that reading it back restores that too.
                    buffer = torch.empty_like(value, device="cpu", pin_memory=pinned, requires_grad=False)
                used[place] = buffer
                into, out_of = sources.setdefault(value.device, ([], []))
                into.append(buffer)
                out_of.append(value.detach())
                return buffer
            if isinstance(value, Mapping):
                return {key: buffered(child, (*place, str(key))) for key, child in value.items()}
            if isinstance(value, list | tuple):
                return type(value)(buffered(child, (*place, str(i))) for i, child in enumerate(value))
            return value

        copied = buffered(content, ())
        self._buffers = used
        ready = []
        with torch.no_grad():
            for device, (into, out_of) in sources.items():
                if device.type == "cuda":
                    ready.append(self._copy_from(device, into, out_of))
                else:
                    torch._foreach_copy_(into, out_of)
        return copied, ready

    def _copy_from(self, device: torch.device, into: list[Tensor], out_of: list[Tensor]) -> torch.cuda.Event:
        stream = self._streams.setdefault(device, torch.cuda.Stream(device))
        current = torch.cuda.current_stream(device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            torch._foreach_copy_(into, out_of, non_blocking=True)
            event = torch.cuda.Event()
            event.record(stream)
        # The next update must not change what is still being copied.
        current.wait_stream(stream)
        return event
