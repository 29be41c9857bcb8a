"""The learning-rate range test: `python scripts/find_lr.py <the same overrides as train.py> [find.KEY=VALUE ...]`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from hookline.analysis.range_test import find_lr
from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app(find_lr, "find_lr")
