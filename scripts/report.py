"""Say what a sweep has found: a table of its points, and a page and CSV files in its directory.

    python scripts/report.py SWEEP_DIR ...

Examples:
    python scripts/report.py outputs/sweeps/warmup
    python scripts/report.py outputs/sweeps/warmup --monitor val/loss --when final
    python scripts/report.py outputs/sweeps/first outputs/sweeps/second --out outputs/both
"""

from hookline.commands.report import main

if __name__ == "__main__":
    main(__doc__)
