"""scripts/cam.py draws where a run's model looks, by a layer that it chooses or is given."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image
from tests.images import write_folder

from hookline.commands.cam import cam

MODEL = ("model=timm", "model.model_name=test_resnet")


@pytest.fixture
def explain(run_task, trained_run, tmp_path):
    """Return a function: the command's end with a run on digits and three photographs, and the names of its files."""
    write_folder(tmp_path / "photos", [""], 3, name="{:03}.jpg", size=(60, 40))

    def run(*arguments: str):
        finished = run_task(cam, "cam", f"run={trained_run(*MODEL)}", "device=cpu", "output_dir=out", *arguments)
        return finished, sorted(path.name for path in (finished.cwd / "out").glob("*"))

    return run


def test_there_is_a_picture_for_each_image_and_method(explain, tmp_path):
    finished, files = explain("input=photos", "method=[gradcam,eigencam]", "batch_size=2")
    assert (finished.status, finished.err) == (0, "")
    pictures = [f"000{n}_00{n - 1}_{method}.png" for n in (1, 2, 3) for method in ("eigencam", "gradcam")]
    assert files == [*pictures, "sheet.png"]
    pixels = np.asarray(Image.open(tmp_path / "out" / pictures[0]))
    assert pixels.shape == (224, 224, 3)  # the model's 32 pixels, enlarged
    assert pixels.std(axis=(0, 1)).min() > 5
    assert "layer: layer" in finished.out


def test_layer_and_class_may_be_given(explain):
    finished, files = explain("input=photos/000.jpg", "layer=[layer1,layer2]", "target=7", "sheet=0")
    assert (finished.status, finished.err) == (0, "")
    assert files == ["0001_000_gradcam.png"]
    assert "layer: layer1, layer2" in finished.out
    assert "000.jpg  7 " in finished.out


def test_a_broken_image_is_named_and_skipped_and_the_exit_status_says_so(explain, tmp_path):
    (tmp_path / "photos" / "001.jpg").write_bytes(b"")
    finished, files = explain("input=photos")
    assert finished.status == 1
    assert "1 of 3 cannot be read, and were left out:\nphotos/001.jpg: the file is empty\n" in finished.out
    assert files == ["0001_000_gradcam.png", "0002_002_gradcam.png", "sheet.png"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("method=cam", "method=cam: must be one of gradcam, gradcam++, layercam"),
        ("method=[gradcam,nope]", "method=nope: must be one of gradcam"),
        ("method=[]", "method=null: must be one of gradcam"),
        ("layer=layer9", "layer=layer9: there is no such layer. Did you mean 'layer"),
        ("layer=fc", "layer=fc: gives no map on which the classes' scores depend"),
        ("target=cat", "target=cat: there is no such class. It can be a number or one of: 0, 1, 2"),
        ("target=10", "target=10: there is no such class"),
        ("smooth=2", "smooth=2: must be true or false"),
        ("batch_size=0", "batch_size=0: must be an integer > 0"),
        ("sheet=x", "sheet=x: must be an integer >= 0"),
        ("input=null", "input: is missing"),
        ("input=film.mp4", "input=film.mp4: must be images, not a video"),
        ("input=empty.jpg", "input=empty.jpg: no image can be read; empty.jpg: the file is empty"),
        ("run=nowhere", "run=nowhere: there is no such run"),
    ],
)
def test_wrong_input_is_one_message(wrong, message, explain, tmp_path):
    for name in ("film.mp4", "empty.jpg"):
        (tmp_path / name).touch()
    finished, files = explain("input=photos", wrong)
    assert (finished.status, finished.out, files) == (2, "", [])
    assert finished.err.startswith(f"error: {message}")
    assert finished.err.count("\n") == 1


def test_without_grad_cam_one_line_says_what_to_install(explain, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    finished, _ = explain("input=photos")
    assert finished.status == 2
    assert (
        finished.err
        == "error: scripts/cam.py: needs the package pytorch_grad_cam; install with: pip install -e '.[cam]'\n"
    )
