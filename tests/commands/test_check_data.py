"""scripts/check_data.py reads every image, and tells what is broken, how it is spread and what is there twice."""

from __future__ import annotations

import csv
import json
import os
import shutil

import pytest
from tests.images import write_folder, write_picture

from hookline.commands.check_data import check_data


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "photos"
    write_folder(root / "train", {"cat": 12, "dog": 11}, size=(80, 60), name="{:03}.jpg")
    for number in range(12):  # as pictures of their own
        place = root / "val" / ("cat" if number < 10 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        write_picture(place / f"{number}.jpg", 5000 + number, size=(30 + number, 40))
    return root


@pytest.fixture
def check(run_task, root):
    """Return a function: the command's end, and its report."""

    def run(*arguments: str):
        finished = run_task(
            check_data, "check_data", "data._target_=tests.images.Photos", f"+data.root={root}", *arguments
        )
        reports = sorted(finished.cwd.glob("outputs/check_data/*/*/check_data.json"))
        return finished, json.loads(reports[-1].read_text()) if reports else None

    return run


def test_data_that_are_fine(check):
    finished, report = check()
    assert (finished.status, finished.err) == (0, "")
    assert report["ok"]
    train, val = report["splits"]["train"], report["splits"]["val"]
    assert (train["images"], train["classes"]) == (23, {"cat": 12, "dog": 11})
    assert train["width"] == {"min": 80, "median": 80, "max": 80}
    assert val["height"] == {"min": 40, "median": 40, "max": 40}
    assert val["width"] == {"min": 30, "median": 35.5, "max": 41}
    assert (train["near_empty"], val["near_empty"]) == ([], ["dog"])
    assert train["duplicates"] == train["broken"] == report["in_both"] == []
    assert "training: 23 images of 2 classes" in finished.out
    assert "width: 30 to 41, median 35.5; height: 40" in finished.out


def test_broken_files_are_named_with_the_reason_and_the_status_is_1(check, root):
    (root / "train" / "cat" / "003.jpg").write_bytes(b"")
    whole = (root / "val" / "cat" / "7.jpg").read_bytes()
    (root / "val" / "cat" / "7.jpg").write_bytes(whole[: len(whole) // 2])
    finished, report = check()
    assert finished.status == 1
    assert not report["ok"]
    (empty,), (cut,) = (report["splits"][split]["broken"] for split in ("train", "val"))
    assert (empty["index"], empty["name"]) == (3, str(root / "train" / "cat" / "003.jpg"))
    assert "cannot identify image file" in empty["reason"]
    assert "truncated" in cut["reason"].lower()
    assert f"{empty['name']}: " in finished.out
    assert report["splits"]["train"]["classes"] == {"cat": 11, "dog": 11}
    (samples,) = finished.cwd.glob("outputs/check_data/*/*/samples.csv")
    rows = list(csv.DictReader(samples.open()))
    assert len(rows) == 35
    assert [row["name"] for row in rows if row["problem"]] == [empty["name"], cut["name"]]


def test_what_is_there_twice(check, root):
    photos, cat, dog = root / "train", root / "train" / "cat", root / "train" / "dog"
    shutil.copy(cat / "001.jpg", cat / "zz.jpg")
    shutil.copy(cat / "002.jpg", dog / "zz.jpg")
    shutil.copy(dog / "004.jpg", root / "val" / "dog" / "zz.jpg")
    finished, report = check()
    assert finished.status == 0
    train = report["splits"]["train"]
    assert train["duplicates"] == [
        [str(cat / "001.jpg"), str(cat / "zz.jpg")],
        [str(cat / "002.jpg"), str(dog / "zz.jpg")],
    ]
    assert train["duplicates_of_another_class"] == [[f"{cat / '002.jpg'} (cat)", f"{dog / 'zz.jpg'} (dog)"]]
    assert report["in_both"] == [{"train": [f"{photos}/dog/004.jpg"], "val": [f"{root}/val/dog/zz.jpg"]}]
    assert "images of validation with the same pixels as one of training: 1" in finished.out


def test_many_equal_images_are_one_short_line(check, root):
    for number in range(8):
        shutil.copy(root / "train" / "cat" / "001.jpg", root / "train" / "cat" / f"z{number}.jpg")
    finished, report = check("check.splits=[train]")
    assert len(report["splits"]["train"]["duplicates"][0]) == 9
    (line,) = (line for line in finished.out.splitlines() if "001.jpg" in line)
    assert line.endswith("z1.jpg = 6 more")


def test_names_that_are_no_text(check, root):
    name = os.fsencode(root / "train" / "cat") + b"/\xe9.jpg"
    shutil.copy(root / "train" / "cat" / "001.jpg", name)
    finished, _ = check("check.splits=[train]")
    assert finished.status == 0, finished.err
    (samples,) = finished.cwd.glob("outputs/check_data/*/*/samples.csv")
    assert name in samples.read_bytes()


def test_one_split_alone(check, root):
    (root / "val" / "cat" / "0.jpg").write_bytes(b"")
    finished, report = check("check.splits=[train]", "check.threads=1")
    assert finished.status == 0
    assert list(report["splits"]) == ["train"]


def test_an_empty_class_is_told(check, root):
    (root / "train" / "bird").mkdir()
    _, report = check("check.near_empty=1", "check.splits=[train]")
    assert report["splits"]["train"]["near_empty"] == ["bird"]


def test_images_in_memory(run_task):
    finished = run_task(check_data, "check_data", "data=digits")
    assert finished.status == 0
    assert "training: 1,437 images of 10 classes" in finished.out


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("check.splits=[test]", "check.splits=[test]: must be a list of some of train, val"),
        ("check.splits=train", "check.splits=train: must be a list of some of train, val"),
        ("check.splits=[train,train]", "check.splits=[train, train]: must be a list of some of train, val, each once"),
        ("check.near_empty=-1", "check.near_empty=-1: must be an integer >= 0"),
        ("check.threads=0", "check.threads=0: must be an integer > 0"),
        ("+check.thread=1", "check.thread: there is no such key. Did you mean 'threads'?"),
        ("check=5", "check=5: must be a mapping"),
        ("data.sise=5", "data.sise: there is no such key."),
    ],
)
def test_wrong_input_is_one_message(wrong, message, check):
    finished, _ = check(wrong)
    assert finished.status == 2
    assert finished.err.startswith(f"error: {message}")
    assert finished.err.count("\n") == 1
