"""Train a classifier: `python src/train.py [group=option ...] [key=value ...]`, or `-m` for a sweep. See the README."""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.train:train", "train")
