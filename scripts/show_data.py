"""Draw a run's data: samples as the model sees them, transforms, classes, sizes.

    python scripts/show_data.py [GROUP=OPTION ...] [KEY=VALUE ...]

The options and keys are those of src/train.py, and the keys of `show`.

Examples:
    python scripts/show_data.py data=digits
    python scripts/show_data.py data=fashion_mnist show.tensorboard=true
    python scripts/show_data.py data=digits show.samples=40 show.epoch=2 seed=3
"""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.show_data:show_data", "show_data", __doc__)
