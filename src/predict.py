"""Say what images or a video show, by a run's model: table, CSV, JSON, pictures.

    python src/predict.py run=RUN_DIR input=INPUT [KEY=VALUE ...]

INPUT is an image, a folder, a pattern or a video. The exit status is 1 if an
image cannot be read: it is named and left out.

Examples:
    python src/predict.py run=RUN_DIR input=photos
    python src/predict.py run=RUN_DIR 'input=photos/*.jpg' top_k=3 weights=ema
    python src/predict.py run=RUN_DIR input=film.mp4 every=5
"""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.predict:predict", "predict", __doc__)
