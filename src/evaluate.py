"""Measure what a run has trained: numbers with intervals, curves, mistakes.

    python src/evaluate.py run=RUN_DIR [KEY=VALUE ...]

Every key of the run's own config can be changed, too, such as data.root, or
data=NAME for another data set with the same classes. The files go into
evaluation/ in the run directory.

Examples:
    python src/evaluate.py run=RUN_DIR
    python src/evaluate.py run=RUN_DIR weights=last tta=flip
    python src/evaluate.py 'run=[RUN_DIR,OTHER_RUN_DIR]' output_dir=compared
"""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.evaluate:evaluate", "evaluate", __doc__)
