"""What reaches the screen."""

from __future__ import annotations

import logging

import pytest

from hookline.loggers.console import ConsoleHandler
from hookline.loggers.streams import say

NAME = "caf\u00e9\x1b]0;taken over\x07 \x1b[2J\x9b31m\r\u732b"
TOLD = "caf\u00e9\\x1b]0;taken over\\x07 \\x1b[2J\\x9b31m\\x0d\u732b"


def test_an_error_cannot_steer_the_terminal(capsys):
    say(f"error: data.root={NAME}\n\tis no folder")
    assert capsys.readouterr().err == f"error: data.root={TOLD}\n\tis no folder\n"


@pytest.mark.parametrize("extra", [{}, {"parts": [(1, f"class {NAME}"), (0, "top")]}])
def test_a_message_cannot_steer_the_terminal(capsys, extra):
    logger = logging.Logger("screen")
    logger.addHandler(ConsoleHandler())
    logger.info("class %s  top", NAME, extra=extra)
    assert capsys.readouterr().out == f"class {TOLD}  top\n"
