"""Find a learning rate by a range test of a run's own model and data.

    python scripts/find_lr.py [GROUP=OPTION ...] [KEY=VALUE ...]

The options and keys are those of src/train.py, and the keys of `find`.

Examples:
    python scripts/find_lr.py optimizer=adamw
    python scripts/find_lr.py experiment=fashion_mnist find.iterations=300
    python scripts/find_lr.py find.start_lr=1e-4 find.end_lr=1 find.shape=linear
"""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.find_lr:find_lr", "find_lr", __doc__)
