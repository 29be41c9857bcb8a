"""The signs of life that the processes of one run give, and what follows from those that do not come."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass

# Seconds between two signs of life.
INTERVAL = 0.5


@dataclass(frozen=True)
class Beat:
    """A sign of life.

    Attributes:
        number: counts the signs of this process.
        calls: how many collective calls the process has made, which all processes make in the same order.
        others_wait: whether what it does now may take this one process long (see `Hook.others_wait`).
        place: where its loop is.
    """

    number: int = 0
    calls: int = 0
    others_wait: bool = True
    place: str = "start"

    @classmethod
    def parse(cls, text: bytes | str) -> Beat:
        """Return what `str` has made a text of."""
        return cls(*json.loads(text))

    def __str__(self) -> str:
        return json.dumps(astuple(self))


class Watch:
    """What one process sees of another, by a look at its newest sign every `INTERVAL` seconds.

    Attributes:
        beat: the newest sign.
    """

    def __init__(self) -> None:
        self.beat = Beat()
        self._silent = self._late = 0
        # Looks since its last call at which its model was at work, and the most that there were before a call.
        self._at_work = self._longest = 0

    def look(self, beat: Beat, least: int, most: int, silence: float) -> str | None:
        """Return why the process counts as hung, None as long as it does not.

        It does when it gives no sign of life for `silence` seconds, or when it is behind another one and comes no
        further for as long, where nothing is known to take a single process so long. Within an update or an evaluation
        twice what the longest took counts where that is more, as two processes may be of different speed.

        Args:
            beat: its newest sign.
            least: the number of collective calls of the process that has made the fewest, as far as is known.
            most: of the one that has made the most.
            silence: seconds, as `distributed.silence`.
        """
        before, self.beat = self.beat, beat
        further, computing = beat.calls != before.calls, beat.place.startswith(("update", "evaluation"))
        self._silent = self._silent + 1 if beat == before else 0
        if further:
            self._longest, self._at_work = max(self._longest, self._at_work), 0
        elif computing and beat.calls <= least:  # one that is ahead of another waits for that one
            self._at_work += 1
        self._late = 0 if further or beat.calls >= most or beat.others_wait else self._late + 1
        if self._silent * INTERVAL >= silence:
            return f"has given no sign of life for {silence:g} seconds"
        limit = max(silence, 2 * self._longest * INTERVAL) if computing else silence
        if self._late * INTERVAL >= limit:
            return f"has kept the others waiting for {limit:g} seconds"
        return None
