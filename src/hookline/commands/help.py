"""What `--help` shows: examples, and the groups with what each option is. Nothing is composed or imported for it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from shutil import get_terminal_size

from hookline.config import paths
from hookline.config.groups import chosen_by_default, group_names, options

FLAGS = ("--help", "-h")

FOOTER = """\
GROUP=OPTION chooses an option, GROUP.KEY=VALUE changes a key of it, and
+GROUP.KEY=VALUE adds one. The option with a star is the default.

--cfg job            print the whole config, and run nothing
--cfg job -p GROUP   print one group's keys
-m                   run every combination of values that commas separate
--config-dir DIR     find options of your own in DIR, too
-sc install=bash     with eval "$(...)": complete groups and keys with Tab
--hydra-help         the other flags, which are Hydra's
"""

FOOTER_OF_KEYS = """\
KEY=VALUE changes a key.

--cfg job            print the whole config, and run nothing
-sc install=bash     with eval "$(...)": complete keys with Tab
--hydra-help         the other flags, which are Hydra's
"""


def help_text(about: str, config_name: str, folders: Sequence[Path], width: int | None = None) -> str:
    """Return the help of a command.

    Args:
        about: what the command does, with examples.
        config_name: its root config, which says what is chosen by default.
        folders: where the config groups are.
        width: columns to fit into; None: the terminal's.
    """
    width = width or get_terminal_size().columns
    root = paths.conf() / f"{config_name}.yaml"
    chosen = chosen_by_default(root)
    if not chosen:  # a command with no parts to choose from
        return "\n\n".join([textwrap.dedent(about).strip(), "\n".join(_keys(root, width)), FOOTER_OF_KEYS])
    names = group_names(folders)
    parts = [textwrap.dedent(about).strip()]
    for group in sorted(names, key=lambda name: list(chosen).index(name) if name in chosen else len(chosen)):
        parts.append("\n".join([f"{group}=", *_lines(options(folders, group), chosen.get(group, []), width)]))
    return "\n\n".join([*parts, FOOTER])


def _lines(described: dict[str, str], default: Sequence[str], width: int) -> list[str]:
    column = max(map(len, described), default=0)
    return [
        f"  {name:<{column}} {'*' if name in default else ' '} "
        + textwrap.shorten(text, max(20, width - column - 6), placeholder=" ...")
        for name, text in described.items()
    ]


def _keys(root: Path, width: int) -> list[str]:
    """Return a root's own keys with their values and comments, as its file has them."""
    lines = root.read_text().splitlines()
    found = [match for line in lines if (match := re.fullmatch(r"(\w+: \S+) +# (.*)", line))]
    column = max(len(match[1]) for match in found)
    return [
        line
        for match in found
        for line in textwrap.wrap(
            match[2],
            width,
            initial_indent=f"  {match[1].replace(': ', '='):<{column}} ",
            subsequent_indent=" " * (column + 3),
        )
    ]
