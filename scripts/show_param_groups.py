"""Show which parameter gets which learning rate and weight decay, without training.

python scripts/show_param_groups.py <the same overrides as train.py> [preview.output_dir=PATH]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from hookline.commands.app import run_app
from hookline.commands.show_param_groups import show_param_groups

if __name__ == "__main__":
    run_app(show_param_groups, "show_param_groups")
