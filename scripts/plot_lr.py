"""Draw the learning-rate curve that a run would have: `python scripts/plot_lr.py <the same overrides as train.py>`.

With `preview.iters_per_epoch=N` nothing is read or built: no data, no model, no torch.
"""

from hookline.commands.app import run_app
from hookline.commands.plot_lr import overlay_jobs

if __name__ == "__main__":
    run_app("hookline.commands.plot_lr:plot_lr", "plot_lr")
    overlay_jobs()
