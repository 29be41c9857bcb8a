"""The errors that are a user's to mend, told apart from bugs.

`ParameterError` is raised by the object that was given a bad value and knows the parameter's name only;
`ConfigError` is what the user sees and names the whole config key.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping


class ConfigError(Exception):
    """Something the user asked for cannot be done; its text is the whole message, and the exit status is 2."""


class ParameterError(ValueError):
    """One parameter of one object has a value it cannot have.

    Args:
        name: the parameter, as the constructor spells it.
        value: what was given.
        expected: what would be valid, as the end of the sentence "must be ...".
    """

    def __init__(self, name: str, value: object, expected: str) -> None:
        super().__init__(f"{name}={value!r}: must be {expected}")
        self.name = name
        self.value = value
        self.expected = expected

    def respelled(self, words: Mapping[str, str]) -> ParameterError:
        """Return the error with parameters named as a config spells them, by their names in the constructor."""
        if not words:
            return self
        pattern = re.compile(r"(?<![\w/])(?:" + "|".join(map(re.escape, words)) + r")(?![\w/])")
        name, expected = (pattern.sub(lambda match: words[match[0]], text) for text in (self.name, self.expected))
        return ParameterError(name, self.value, expected)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the nearest known word, or an empty string when none is near."""
    near = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
