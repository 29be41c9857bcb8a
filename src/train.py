"""Train a classifier on the data, model and schedule that options and keys name.

    python src/train.py [GROUP=OPTION ...] [KEY=VALUE ...]

Examples:
    python src/train.py lr_schedule=cosine optimizer=sgd
    python src/train.py model=resnet18 optimizer=adamw runner.max_epochs=5
    python src/train.py -m lr_schedule=cosine,one_cycle optimizer.lr=0.03,0.1
"""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.train:train", "train", __doc__)
