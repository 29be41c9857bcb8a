"""src/predict.py says what images and videos show, in the run's own words, and names what it cannot read."""

from __future__ import annotations

import csv
import json
import struct
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.images import picture, write_film

import hookline
from hookline.commands.predict import predict
from hookline.data.video import VideoWriter, frames_of, video_info


@pytest.fixture
def say(run_task, trained_run):
    """Return a function: the command's end with a run on digits, and its output folder."""

    def run(*arguments: str):
        finished = run_task(predict, "predict", f"run={trained_run()}", "device=cpu", "output_dir=out", *arguments)
        return finished, finished.cwd / "out"

    return run


@pytest.fixture
def photos(tmp_path) -> Path:
    """Return a folder of 5 photographs."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for number in range(5):
        place = folder / "deep" if number > 2 else folder
        picture(number, (60, 40 + 5 * number)).save(place / f"{number}.jpg", quality=95)
    return folder


@pytest.fixture
def film(tmp_path) -> Path:
    """Return a video of 12 frames."""
    return write_film(tmp_path / "film.mp4")


def rows_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "predictions.csv").open(newline="")))


def test_it_says_what_the_model_says_from_python(say, photos, trained_run):
    finished, out = say(f"input={photos}", "top_k=3", "batch_size=2")
    assert (finished.status, finished.err) == (0, "")
    paths = sorted(map(str, photos.rglob("*.jpg")))
    rows = rows_of(out)
    assert [row["file"] for row in rows] == paths
    assert list(rows[0]) == [
        *("file", "class_1", "probability_1", "class_2", "probability_2", "class_3", "probability_3", "error")
    ]
    for row, known in zip(rows, hookline.load(trained_run(), device="cpu").predict(paths, top_k=3), strict=True):
        assert (row["class_1"], row["class_2"], row["class_3"]) == known.classes
        found = [float(row[f"probability_{place}"]) for place in (1, 2, 3)]
        assert found == pytest.approx(known.probabilities, abs=1e-5)
    content = json.loads((out / "predictions.json").read_text())
    assert content["classes"] == [str(digit) for digit in range(10)]
    assert [one["top"][0]["class"] for one in content["predictions"]] == [row["class_1"] for row in rows]
    assert rows[0]["class_1"] in finished.out
    assert "5 images" in finished.out
    assert np.asarray(Image.open(out / "sheet.png").convert("L")).min() < 100


def test_every_kind_of_image_is_read_as_a_viewer_shows_it(say, tmp_path):
    folder = tmp_path / "kinds"
    folder.mkdir()
    image, grey = picture(7), picture(7).convert("L")
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(folder / "plain.png")
    image.rotate(90, expand=True).save(folder / "exif.png", exif=turned)
    image.convert("RGBA").save(folder / "alpha.png")
    image.save(folder / "small.webp", lossless=True)
    grey.save(folder / "grey.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(folder / "deep.tif")
    image.quantize(256).save(folder / "palette.png")
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=100)
    finished, out = say(f"input={folder}", "top_k=10")
    assert (finished.status, finished.err) == (0, "")
    found = {
        Path(row["file"]).name: {row[f"class_{n}"]: float(row[f"probability_{n}"]) for n in range(1, 11)}
        for row in rows_of(out)
    }
    assert len(found) == 8
    for name in ("exif.png", "alpha.png", "small.webp"):
        assert found[name] == found["plain.png"], name
    assert found["deep.tif"] == found["grey.png"]
    for name in ("palette.png", "cmyk.jpg"):
        assert found[name] == pytest.approx(found["plain.png"], abs=0.02), name


def test_a_broken_image_is_named_and_skipped_and_the_exit_status_says_so(say, photos):
    (photos / "0.jpg").write_bytes((photos / "1.jpg").read_bytes()[:400])
    (photos / "deep" / "empty.png").touch()
    finished, out = say(f"input={photos}")
    assert finished.status == 1
    assert "2 of 6 cannot be read" in finished.out
    assert f"{photos}/deep/empty.png: the file is empty" in finished.out
    rows = rows_of(out)
    assert [Path(row["file"]).name for row in rows if row["error"]] == ["0.jpg", "empty.png"]
    assert all(bool(row["class_1"]) != bool(row["error"]) for row in rows)
    broken = [one for one in json.loads((out / "predictions.json").read_text())["predictions"] if "error" in one]
    assert len(broken) == 2


def test_patterns_lists_and_single_files(say, photos):
    _, out = say(f"input={photos}/**/[34].jpg")
    assert [Path(row["file"]).name for row in rows_of(out)] == ["3.jpg", "4.jpg"]
    _, out = say(f"input=[{photos}/1.jpg,{photos}/deep,{photos}/1.jpg]", "sheet=0")
    assert [Path(row["file"]).name for row in rows_of(out)] == ["1.jpg", "3.jpg", "4.jpg"]
    (photos / "1.jpg").rename(photos / "no [extension]")
    finished, out = say(f"input={photos}/no [extension]")
    assert (finished.status, len(rows_of(out))) == (0, 1)


def test_a_video_is_predicted_by_frames_and_written_again(say, film):
    finished, out = say(f"input={film}", "every=3")
    assert (finished.status, finished.err) == (0, "")
    rows = rows_of(out)
    assert [(row["frame"], row["seconds"]) for row in rows] == [("0", "0.0"), ("3", "0.3"), ("6", "0.6"), ("9", "0.9")]
    said = [(row["class_1"], row["probability_1"][:4]) for row in rows]
    assert said[0] == said[1] != said[2] == said[3]  # as the picture changes in the middle
    assert "0:00.0 to " in finished.out
    frames = list(frames_of(out / "annotated.mp4"))
    assert len(frames) == 10  # up to the last one that was predicted
    assert frames[0].pixels.shape == (48, 64, 3)
    assert video_info(out / "annotated.mp4").rate == 10
    left, right = frames[0].pixels[:12, :12], frames[0].pixels[-12:, :12]
    assert left.mean() < right.mean() - 20  # words on a dark ground in the corner
    assert not (out / "sheet.png").exists()


def test_a_video_may_be_left_unwritten(say, film):
    finished, out = say(f"input={film}", "annotate=false")
    assert finished.status == 0
    assert sorted(path.name for path in out.iterdir()) == ["predictions.csv", "predictions.json"]
    assert len(rows_of(out)) == 12


def test_a_video_that_breaks_off_is_told_up_to_there(say, tmp_path):
    path = tmp_path / "torn.mp4"
    noise = np.random.default_rng(0)
    with VideoWriter(path, Fraction(10)) as video:
        for _ in range(30):
            video.write(noise.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    path.write_bytes(torn(bytearray(path.read_bytes())))
    finished, out = say(f"input={path}")
    assert finished.status == 1
    assert "torn.mp4: it is broken after" in finished.out
    good = [row for row in rows_of(out) if not row["error"]]
    assert 0 < len(good) < 30


def torn(content: bytearray) -> bytes:
    """Return a file with 2000 bytes overwritten behind two thirds of its pictures."""
    start = content.index(b"mdat")
    size = int.from_bytes(content[start - 4 : start], "big")
    place = start + 2 * size // 3
    return bytes(content[:place] + b"\xff" * 2000 + content[place + 2000 :])


def test_a_phone_s_video_is_turned_the_right_way_up(tmp_path):
    path = tmp_path / "film.mp4"
    with VideoWriter(path, Fraction(10)) as video:
        video.write(np.vstack([np.full((16, 64, 3), 230, np.uint8), np.full((32, 64, 3), 20, np.uint8)]))
    content = bytearray(path.read_bytes())
    # The track's matrix stands 40 bytes behind its name; this one means a quarter turn clockwise.
    place = content.index(b"tkhd") + 44
    content[place : place + 20] = struct.pack(">5i", 0, 1 << 16, 0, -1 << 16, 0)
    path.write_bytes(content)
    (frame,) = frames_of(path)
    assert frame.pixels.shape == (64, 48, 3)
    assert frame.pixels[:, -8:].mean() > 200 > 100 > frame.pixels[:, :24].mean()  # what was above is on the right


def test_images_of_other_sizes_are_brought_to_the_model_s(run_task, trained_run, photos):
    # Nothing in this run resizes: all its images are 8 pixels wide.
    run = trained_run("data.transforms.resize=null", "data.train_transforms=null")
    finished = run_task(predict, "predict", f"run={run}", f"input={photos}", "output_dir=out")
    assert finished.status == 0, finished.err
    rows, paths = rows_of(finished.cwd / "out"), sorted(map(str, photos.rglob("*.jpg")))
    assert [row["file"] for row in rows] == paths
    for row, known in zip(rows, hookline.load(run, device="cpu").predict(paths), strict=True):
        assert row["class_1"] == known.classes[0]
        assert float(row["probability_1"]) == pytest.approx(known.probabilities[0], abs=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("input=null", "input: is missing; give an image, a folder of images, a pattern or a video, input=PATH"),
        ("input=[]", "input: is missing"),
        ("input=photos/9.jpg", "input=photos/9.jpg: there is no such file or folder. Did you mean"),
        ("input=photos/*.png", "input=photos/*.png: no file matches it"),
        ("input=notes/*", "input=notes/*: none of the 1 files that match is an image"),
        ("input=notes", "input=notes: the folder has no images"),
        ("input=films", "input=films: the folder has no images; of its 2 videos, name one"),
        ("input=[films/a.mp4,photos]", "input=[films/a.mp4, photos]: must be images or one video"),
        ("input=films/a.mp4", "input=films/a.mp4: it cannot be opened as a video"),
        ("input=films/b.mp4", "input=films/b.mp4: it has no frames"),
        ("input=notes/a.txt", "input=notes/a.txt: no image can be read; notes/a.txt: its format is not known"),
        ("input=photos top_k=0", "top_k=0: must be an integer > 0"),
        ("input=photos batch_size=x", "batch_size=x: must be an integer > 0"),
        ("input=photos sheet=-1", "sheet=-1: must be an integer >= 0"),
        ("input=photos every=0", "every=0: must be an integer > 0"),
        ("input=photos annotate=5", "annotate=5: must be true or false"),
        ("input=photos workers=0", "workers=0: must be an integer > 0"),
        ("input=photos weights=worst", "weights=worst: must be one of best, last, ema"),
        ("input=photos device=gpu", "device=gpu: must be one of"),
        ("input=photos output_dir=notes/a.txt", "output_dir=notes/a.txt: must be the path of a folder"),
        ("input=photos output_dir=/proc/x", "output_dir=/proc/x: /proc/x: no folder can be made there"),
        ("input=photos run=nowhere", "run=nowhere: there is no such run"),
        ("input=photos run=null", "run: is missing"),
        ("input=photos +inputs=3", "inputs: there is no such key. Did you mean 'input'?"),
    ],
)
def test_wrong_input_is_one_message(wrong, message, say, photos, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no image")
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").write_text("no film")
    write_film_without_frames(tmp_path / "films" / "b.mp4")
    finished, _ = say(*wrong.split())
    assert finished.status == 2
    assert finished.err.startswith(f"error: {message}")
    assert (finished.err.count("\n"), finished.out) == (1, "")


def write_film_without_frames(path: Path) -> None:
    import av

    with av.open(str(path), "w", options={"movflags": "empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.start_encoding()


def test_without_pyav_one_line_says_what_to_install(say, film, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    finished, _ = say(f"input={film}")
    assert finished.status == 2
    assert finished.err == "error: a video: needs the package av; install with: pip install -e '.[video]'\n"
