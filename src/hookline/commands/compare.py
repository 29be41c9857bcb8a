"""The command line of a comparison of schedules."""

from __future__ import annotations

from collections.abc import Sequence


def with_shared_keys(arguments: Sequence[str]) -> list[str]:
    """Return the command line; of a comparison with keys of `lr_schedule` that its own option need not have.

    They are meant for those of the compared options that have them.
    """
    if not any(argument.startswith("preview.compare=") for argument in arguments):
        return list(arguments)
    return [f"++{argument}" if argument.startswith("lr_schedule.") else argument for argument in arguments]
