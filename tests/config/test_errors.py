"""What libraries say becomes part of one line."""

from __future__ import annotations

import pytest
import yaml

from hookline.config.errors import first_line, reason_of, shown


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("no room\nframe #0: c10\nframe #1: c10", "no room"),
        ("\n\n  no room  \n", "no room"),
        ("Error(s) in loading:\n\tsize mismatch\n\tanother", "Error(s) in loading: size mismatch"),
        ("", ""),
    ],
)
def test_the_first_line_that_says_something(text, line):
    assert first_line(text) == line


def test_the_place_of_a_mistake_in_yaml():
    with pytest.raises(yaml.YAMLError) as caught:
        yaml.safe_load("a: 1\nb: [")
    assert reason_of(caught.value).startswith("line 2: expected the node content")


def test_values_are_shown_as_yaml_has_them():
    assert shown([True, None, "", 0.9, {"a": [1, "x"]}]) == "[true, null, '', 0.9, {a: [1, x]}]"
