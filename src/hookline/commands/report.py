"""The report on sweeps, from a command line to its files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hookline.commands.app import USER_ERRORS, explain, is_users
from hookline.commands.peers import USER_ERROR
from hookline.config.direction import MODES
from hookline.loggers.console import shown
from hookline.loggers.streams import open_streams, say
from hookline.sweep.jobs import read_sweep
from hookline.sweep.outcomes import WHEN
from hookline.sweep.report import make_report, text, write_report
from hookline.sweep.show import columns


def main(about: str, arguments: Sequence[str] | None = None) -> None:
    """Write the report on the sweeps that the arguments name, and print its heart.

    Args:
        about: what the command does, with examples, for `--help`.
        arguments: the command line; None: the process's.
    """
    open_streams()
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="+", metavar="SWEEP_DIR", help="a sweep's directory, or any Hydra multirun's")
    parser.add_argument("--monitor", help="the number to compare (default: what the sweep watched)")
    parser.add_argument("--mode", choices=MODES, help="which way it is better (default: the sweep's, or by its name)")
    parser.add_argument("--when", choices=WHEN, default="best", help="which epoch of each job counts (default: best)")
    parser.add_argument("--out", type=Path, help="where the files go (default: the first sweep's directory)")
    given = parser.parse_args(arguments)
    try:
        sweeps = [read_sweep(directory) for directory in given.sweeps]
        report = make_report(sweeps, given.monitor, given.mode, given.when)
        written = write_report(report, given.out or sweeps[0].directory)
    except (*USER_ERRORS, OSError) as error:
        if not is_users(error):
            raise
        say(f"error: {explain(error)}")
        sys.exit(USER_ERROR)
    print(text(report, columns()))
    print(f"\n{', '.join(path.name for path in written)}: {shown(written[0].parent)}")
