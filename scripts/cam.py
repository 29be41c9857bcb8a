"""Show where in images a run's model looks for a class: Grad-CAM and relatives.

    python scripts/cam.py run=RUN_DIR input=INPUT [KEY=VALUE ...]

INPUT is an image, a folder or a pattern. The exit status is 1 if an image
cannot be read: it is named and left out.

Examples:
    python scripts/cam.py run=RUN_DIR input=photos
    python scripts/cam.py run=RUN_DIR input=a.jpg 'method=[gradcam,layercam]'
    python scripts/cam.py run=RUN_DIR input=a.jpg target=dog layer=layer3
"""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.cam:cam", "cam", __doc__)
