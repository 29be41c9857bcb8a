"""Draw the learning-rate curve that a run would have: `python scripts/plot_lr.py <the same overrides as train.py>`.

Add `preview.iters_per_epoch=N` and nothing is read or built: no data, no model, no torch.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from hookline.commands.app import run_app
from hookline.commands.plot_lr import overlay_jobs, plot_lr

if __name__ == "__main__":
    run_app(plot_lr, "plot_lr")
    overlay_jobs()
