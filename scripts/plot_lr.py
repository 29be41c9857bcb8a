"""Draw the learning-rate curve that a run would have.

    python scripts/plot_lr.py [GROUP=OPTION ...] [KEY=VALUE ...]

The options and keys are those of src/train.py, and the keys of `preview`. With
preview.iters_per_epoch=N neither data nor a model are read.

Examples:
    python scripts/plot_lr.py lr_schedule=step preview.iters_per_epoch=500
    python scripts/plot_lr.py 'preview.compare=[cosine,wsd]' preview.text=true
    python scripts/plot_lr.py -m lr_schedule=poly lr_schedule.power=1,2,3
"""

from hookline.commands.app import run_app
from hookline.commands.plot_lr import overlay_jobs

if __name__ == "__main__":
    run_app("hookline.commands.plot_lr:plot_lr", "plot_lr", __doc__)
    overlay_jobs()
