"""The errors that are a user's to mend, told apart from bugs.

`ParameterError` is raised by the object that was given a bad value and knows the parameter's name only;
`ConfigError` is what the user sees and names the whole config key.
"""

from __future__ import annotations

import difflib
import re
import traceback
from collections.abc import Iterable, Mapping, Sequence

import yaml


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


def reason_of(error: BaseException) -> str:
    """Return the first line of an error's text, its kind before it where the text says little by itself."""
    text, kind = first_line(text_of(error)), type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    if isinstance(error, AssertionError) and not text:
        return traceback.extract_tb(error.__traceback__)[-1].line or kind
    return f"{kind}: {text}" if text and len(text.split()) < 4 else text or kind


def first_line(text: str) -> str:
    """Return the first line of a text, with those after it as long as a line ends in a colon and so announces another.

    What libraries write below it, such as the frames of a C++ stack, is for those who mend the library.
    """
    found = re.match(r"\s*([^\n]*:[ \t]*\n)*[^\n]*", text.strip())
    return " ".join(found[0].split()) if found else ""


def shown(value: object) -> str:
    """Return a value as it is written on the command line and in YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {shown(child)}" for key, child in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "[" + ", ".join(map(shown, value)) + "]"
    if value is None or value == "":
        return "null" if value is None else "''"
    return str(value).lower() if isinstance(value, bool) else str(value)


def text_of(error: BaseException) -> str:
    """Return an error's text, an empty one where its class fails to give it."""
    try:
        return str(error)
    except Exception:  # whatever a class of somebody's does when it is asked for its text
        return ""


def told_of(error: BaseException) -> str:
    """Return an error's kind and text."""
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the nearest known words, or an empty string when none is near."""
    return _asked(_near(word, known))


def did_you_mean_key(word: str, keys: Iterable[str]) -> str:
    """Return the same for dotted keys, of which the last parts are compared: `optimizer.lr` is meant by `lr`."""
    by_last: dict[str, list[str]] = {}
    for key in keys:
        by_last.setdefault(key.rpartition(".")[2], []).append(key)
    return _asked([key for last in _near(word, by_last) for key in by_last[last]][:3])


def _near(word: str, known: Iterable[str]) -> list[str]:
    spelled = {name.lower(): name for name in known}
    return [spelled[name] for name in difflib.get_close_matches(word.lower(), spelled, n=3, cutoff=0.6)]


def _asked(near: Iterable[str]) -> str:
    words = " or ".join(map(repr, near))
    return f" Did you mean {words}?" if words else ""
