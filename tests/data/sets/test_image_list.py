"""Lists of images, as text and as CSV."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.images import write_folder, write_picture

from hookline.config.errors import ConfigError
from hookline.data import ImageList


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of ten pictures, and the directory in which tests run."""
    return write_folder(tmp_path / "images")


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def lines(*numbers: int, prefix: str = "images/", labels: tuple[str, str] = ("cat", "dog"), gap: str = " ") -> str:
    names = ("cat", "dog")
    return "".join(f"{prefix}{names[n >= 5]}/{n % 5}.jpg{gap}{labels[n >= 5]}\n" for n in numbers)


def both(**options) -> tuple[ImageList, ImageList]:
    train, val = (ImageList(split=split, **options) for split in ("train", "val"))
    train.check()
    val.check()
    return train, val


def shown(source) -> list[tuple[str, str]]:
    """Return the last two parts of each sample's path, and its class."""
    return [
        ("/".join(Path(source.name_of(i)).parts[-2:]), source.classes[int(source.targets[i])])
        for i in range(len(source))
    ]


ALL = [("cat/0.jpg", "cat"), ("cat/3.jpg", "cat"), ("dog/1.jpg", "dog")]


@pytest.mark.parametrize("gap", [" ", "\t", "   "])
def test_text(folder, gap):
    train = write(folder.parent / "train.txt", lines(0, 3, 6, gap=gap))
    val = write(folder.parent / "val.txt", lines(1, 7, gap=gap))
    sources = both(train=train, val=val)
    assert shown(sources[0]) == ALL
    assert sources[1].targets.tolist() == [0, 1]
    assert sources[0].read(0).shape == (3, 16, 24)


def test_paths_with_blanks_and_bytes_of_windows(folder):
    write_picture(folder / "my cat" / "a picture.jpg")
    write_picture(folder / "my cat" / "ä.jpg")
    text = "\ufeffimages\\my cat\\a picture.jpg 0\r\nimages/my cat/ä.jpg 1\r\n\r\n"
    train = write(folder.parent / "train.txt", text)
    source, _ = both(train=train, val=write(folder.parent / "val.txt", lines(1, 6, labels=("0", "1"))))
    assert os.path.exists(source.name_of(0))
    assert source.classes == ("0", "1")


def test_paths_relative_to_root_and_absolute_ones(folder, tmp_path):
    (tmp_path / "lists").mkdir()
    train = write(tmp_path / "lists" / "train.txt", lines(0, 6, prefix=""))
    val = write(tmp_path / "lists" / "val.txt", lines(1, 7, prefix=f"{folder}/"))
    assert shown(both(train=train, val=val, root=str(folder))[1]) == [("cat/1.jpg", "cat"), ("dog/2.jpg", "dog")]


def test_awesome_backbones_as_it_is(tmp_path, monkeypatch):
    # Its lists are in a folder of the repository, and their paths are relative to the repository.
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "datasets" / "train", ("sun flower", "tulip"))
    write_folder(tmp_path / "datasets" / "test", ("sun flower", "tulip"), count=1)
    (tmp_path / "datas").mkdir()
    write(tmp_path / "datas" / "annotations.txt", "sun flower 0\ntulip 1\n")
    for split, count in (("train", 5), ("test", 1)):
        rows = [
            f"datasets/{split}/{c}/{n}.jpg {i}\n" for i, c in enumerate(("sun flower", "tulip")) for n in range(count)
        ]
        write(tmp_path / "datas" / f"{split}.txt", "".join(rows))
    lists = {"train": "datas/train.txt", "val": "datas/test.txt", "class_names": "datas/annotations.txt", "root": "."}
    train, val = both(**lists)
    assert train.classes == val.classes == ("sun flower", "tulip")
    assert (len(train), len(val)) == (10, 2)
    assert val.read(1).shape == (3, 16, 24)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("heading", ["image,label,split", "", "split,label,filename"])
def test_csv_with_a_column_of_splits(folder, delimiter, heading):
    rows = [("images/cat/0.jpg", "cat", "train"), ("images/cat/3.jpg", "cat", "train")]
    rows += [("images/dog/1.jpg", "dog", "training"), ("images/dog/2.jpg", "dog", "test")]
    text = "".join(delimiter.join(row[::-1] if heading.startswith("split") else row) + "\n" for row in rows)
    text = heading.replace(",", delimiter) + "\n" * bool(heading) + text
    train, val = both(train=write(folder.parent / ("all.tsv" if delimiter == "\t" else "all.csv"), text))
    assert shown(train) == ALL
    assert shown(val) == [("dog/2.jpg", "dog")]


def test_csv_with_quotes_and_further_columns(folder):
    text = 'id,label,path\n7,"dog, large","images/dog/0.jpg"\n8,cat,images/cat/0.jpg\n'
    train, _ = both(
        train=write(folder.parent / "a.csv", text), val=write(folder.parent / "b.csv", "images/cat/1.jpg,cat\n")
    )
    assert train.classes == ("cat", "dog, large")
    assert train.targets.tolist() == [1, 0]


def test_a_part_is_held_out_of_one_list(folder):
    train, val = both(train=write(folder.parent / "all.txt", lines(*range(10))), val_fraction=0.4)
    assert (train.class_counts.tolist(), val.class_counts.tolist()) == ([3, 3], [2, 2])
    assert not {name for name, _ in shown(train)} & {name for name, _ in shown(val)}


def test_class_names(folder):
    train = write(folder.parent / "all.txt", lines(*range(10), labels=("1", "0")))
    names = write(folder.parent / "names.txt", "a dog\na cat\n")
    assert shown(both(train=train, class_names=names)[0])[0][1] == "a cat"
    # Names that end in numbers are names, unless the numbers are those of all classes.
    names = write(folder.parent / "names.txt", "Model 3\nModel 5\n")
    assert both(train=train, class_names=names)[0].classes == ("Model 3", "Model 5")
    names = write(folder.parent / "names.txt", "Model 1\nOther 0\n")
    assert both(train=train, class_names=names)[0].classes == ("Other", "Model")


def test_the_fingerprint_follows_names_and_labels(folder):
    texts = [lines(*range(10)), lines(*range(9)), lines(*range(10), labels=("dog", "cat"))]
    val = write(folder.parent / "val.txt", lines(0))
    seen = [
        ImageList(split="train", train=write(folder.parent / f"{i}.txt", text), val=val).fingerprint
        for i, text in enumerate(texts)
    ]
    with pytest.raises(ConfigError, match="listed for training and for validation"):
        seen[0]()
    seen = [
        ImageList(split="train", train=write(folder.parent / "same.txt", text), val_fraction=0.2).fingerprint()
        for text in texts
    ]
    assert len(set(seen)) == 3


WRONG = {
    "no list": (None, None, "data.train: is missing"),
    "no such list": ("nowhere.txt", None, "data.train=nowhere.txt: cannot be read: .*No such file"),
    "empty": ("", None, "is empty"),
    "no label": ("images/cat/0.jpg\n", None, "row 1 is no path with a label: 'images/cat/0.jpg'"),
    "missing": (
        lines(0, 5) + "images/cat/9.jpg cat\n",
        lines(1),
        "1 of 3 listed train images are not there: 'images/cat/9.jpg'",
    ),
    "twice": (lines(0, 0, 5), lines(1), "1 of the train samples come more than once: 'images/cat/0.jpg'"),
    "in both": (lines(0, 5), lines(0), "1 images are listed for training and for validation: .*cat/0.jpg"),
    "unknown class": (lines(0, 5), lines(1, labels=("eel", "")), "labels that are no class of training: 'eel'"),
    "one class": (lines(0, 1), lines(5), "has the class 'cat' only; there must be two or more"),
    "unknown number": (
        lines(0, 5, labels=("0", "1")),
        "images/cat/1.jpg 2\n",
        "the label 2 is out of range; with 2 classes",
    ),
    "negative": (lines(0, 5, labels=("0", "-1")), lines(1, labels=("0", "0")), "the label -1 is out of range"),
    "huge": (lines(0, 5, labels=("0", "999999999999")), lines(1), "the label 999999999999 is out of range: it gives"),
    "digits": (lines(0, 5, labels=("0", "9" * 5000)), lines(1), r"the label 9{18}\.\.\. is out of range"),
    "gap": (lines(0, 5, labels=("0", "2")), lines(1, labels=("0", "0")), "1 of 3 classes have no training image: '1'"),
}


@pytest.mark.parametrize(("train", "val", "message"), WRONG.values(), ids=WRONG)
def test_wrong_lists_are_told(folder, monkeypatch, train, val, message):
    monkeypatch.chdir(folder.parent)
    if train is not None and train != "nowhere.txt":
        train = write(folder.parent / "train.txt", train)
    val = None if val is None else write(folder.parent / "val.txt", val)
    with pytest.raises(ConfigError, match=message):
        both(train=train, val=val)


def test_a_table_with_an_endless_cell_is_told(folder):
    table = write(folder.parent / "a.csv", "images/cat/0.jpg,cat\nimages/dog/0.jpg," + 200_000 * "x" + "\n")
    with pytest.raises(ConfigError, match=r"^data\.train=.*a\.csv: cannot be read: field larger"):
        both(train=table)


def test_splits_and_class_names_that_cannot_be_are_told(folder):
    table = write(folder.parent / "a.csv", "images/cat/0.jpg,cat,train\nimages/dog/0.jpg,dog,holdout\n")
    with pytest.raises(ConfigError, match=r"has splits that are none of train, .*: 'holdout'"):
        both(train=table)
    train = write(folder.parent / "all.txt", lines(*range(10), labels=("0", "1")))
    for text, message in (
        ("a\n", "the label 1 is out of range; with 1 classes"),
        ("", "names no class"),
        ("a\na\n", "more than once: 'a'"),
    ):
        with pytest.raises(ConfigError, match=message):
            both(train=train, class_names=write(folder.parent / "names.txt", text))
