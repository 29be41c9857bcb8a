"""Read every image of a run's data: what is broken, sizes, classes, duplicates.

    python scripts/check_data.py [GROUP=OPTION ...] [KEY=VALUE ...]

The options and keys are those of src/train.py, and the keys of `check`. The
exit status is 1 if an image cannot be read.

Examples:
    python scripts/check_data.py data=digits
    python scripts/check_data.py data=fashion_mnist check.near_empty=100
    python scripts/check_data.py data=digits 'check.splits=[train]'
"""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.check_data:check_data", "check_data", __doc__)
