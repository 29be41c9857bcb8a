"""Find a learning rate by a range test: `python scripts/find_lr.py <the same overrides as train.py>`."""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.find_lr:find_lr", "find_lr")
