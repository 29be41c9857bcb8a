"""All sinks of a run, and what becomes of one that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from hookline.config.errors import told_of
from hookline.loggers.sink import Sink

log = logging.getLogger(__name__)


class Sinks(dict[str, Sink]):
    """The sinks by their names in the group `logger`; the hooks that hand something to them share this object.

    What a sink raises is said once, whichever hook called it, and never stops training.
    """

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        super().__init__(sinks)
        self._told: set[str] = set()

    def each(self, act: Callable[[Sink], Any]) -> dict[str, Any]:
        """Return what `act` gives for each sink, by name; those for which it gives None, or fails, are left out."""
        found = {name: self.attempt(name, act) for name in self}
        return {name: result for name, result in found.items() if result is not None}

    def attempt(self, name: str, act: Callable[[Sink], Any]) -> Any:
        """Return what `act` gives for this sink; None where it fails."""
        try:
            return act(self[name])
        except Exception as error:  # a place for numbers must not end the training that makes them
            if name not in self._told:
                self._told.add(name)
                log.warning("logger.%s failed, training goes on: %s", name, told_of(error))
                log.debug("logger.%s", name, exc_info=True)
            return None
