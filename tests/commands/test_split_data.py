"""scripts/split_data.py spreads the classes over the parts, keeps groups together and leaves the originals alone."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

import pytest

from hookline.analysis.data_split import split_samples
from hookline.commands.split_data import split_data


@pytest.fixture
def flowers(tmp_path):
    """Return a folder of two classes, 20 and 10 images of five plants each."""
    for name, count in (("rose", 20), ("ünion jack", 10)):
        (tmp_path / "flowers" / name / "deep").mkdir(parents=True)
        for number in range(count):
            folder = "deep" if number % 2 else "."
            (tmp_path / "flowers" / name / folder / f"plant{number % 5}_{number:02}.jpg").write_text(f"{name}{number}")
    (tmp_path / "flowers" / "rose" / "notes.txt").write_text("no image")
    return tmp_path / "flowers"


@pytest.fixture
def split(run_task, tmp_path):
    """Return a function that runs the command with `source` and an output folder, `out` if none is given."""

    def run(source: Path, *arguments: str):
        out = [] if any(a.startswith("output_dir") for a in arguments) else [f"output_dir={tmp_path}/out"]
        return run_task(split_data, "split_data", f"source={source}", *out, *arguments)

    return run


def listed(path: Path) -> dict[Path, str]:
    """Return the labels of a list's files, which are there."""
    return {(path.parent / row["path"]).resolve(strict=True): row["label"] for row in csv.DictReader(path.open())}


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_lists_are_stratified_and_the_source_stays_as_it_is(split, flowers, tmp_path):
    before = content(flowers)
    finished = split(flowers, "val=0.2", "test=0.1")
    assert (finished.status, finished.err) == (0, "")
    assert content(flowers) == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["test.csv", "train.csv", "val.csv"]
    parts = {name: listed(tmp_path / "out" / f"{name}.csv") for name in ("train", "val", "test")}
    assert {name: Counter(found.values()) for name, found in parts.items()} == {
        "train": {"rose": 14, "ünion jack": 7},
        "val": {"rose": 4, "ünion jack": 2},
        "test": {"rose": 2, "ünion jack": 1},
    }
    assert len({path for found in parts.values() for path in found}) == 30
    assert all(label in path.parts for found in parts.values() for path, label in found.items())
    assert "val    6 images (20.0 %), 2 classes with 2 to 4" in finished.out


def test_the_seed_chooses_and_nothing_else(split, flowers, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert split(flowers, f"seed={seed}", f"output_dir={tmp_path}/{name}").status == 0
    a, b, c = (listed(tmp_path / name / "val.csv") for name in "abc")
    assert a == b != c


def test_links_lead_to_the_originals(split, flowers, tmp_path):
    assert split(flowers, "mode=link").status == 0
    links = list((tmp_path / "out").rglob("*.jpg"))
    assert all(path.is_symlink() for path in links)
    originals = {path.resolve(strict=True) for path in links}
    assert originals == set(flowers.rglob("*.jpg"))
    assert {path.relative_to(tmp_path / "out").parts[:2] for path in links} == {
        (part, label) for part in ("train", "val") for label in ("rose", "ünion jack")
    }


def test_copies_leave_the_originals(split, flowers, tmp_path):
    before = content(flowers)
    assert split(flowers, "mode=copy").status == 0
    assert content(flowers) == before
    copies = content(tmp_path / "out")
    assert Counter(copies.values()) == Counter(text for name, text in before.items() if name.endswith("jpg"))
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


def test_moved_files_can_be_moved_back(split, flowers, tmp_path):
    before = content(flowers)
    assert split(flowers, "mode=move").status == 0
    assert content(flowers) == {"rose/notes.txt": "no image"}
    for row in csv.DictReader((tmp_path / "out" / "moved.csv").open()):
        os.rename(tmp_path / "out" / row["to"], row["from"])
    assert content(flowers) == before


def test_images_whose_paths_match_alike_stay_together(split, flowers, tmp_path):
    finished = split(flowers, r"group_pattern='(plant\d)_'", "val=0.4")
    assert finished.status == 0, finished.err
    parts = [listed(tmp_path / "out" / f"{name}.csv") for name in ("train", "val")]
    plants = [{path.name[:6] for path in part} for part in parts]
    assert not plants[0] & plants[1]
    assert [len(part) for part in parts] == [18, 12]
    assert "3 groups" in finished.out


def test_a_column_says_what_stays_together(split, tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    rows = []
    for number in range(40):
        (scans / f"{number}, left.png").write_text("")
        rows.append((f"{number}, left.png", ("ill", "well")[number % 2], f"patient {number // 4}"))
    with (tmp_path / "scans" / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("Path", "Label", "Patient"), *rows])
    assert split(scans / "all.csv", "group_column=patient", "val=0.2", "test=0.2").status == 0
    patients = {(scans / path).resolve(): patient for path, _, patient in rows}
    found = [listed(tmp_path / "out" / f"{name}.csv") for name in ("train", "val", "test")]
    assert [Counter(part.values()) for part in found] == [
        {"ill": 12, "well": 12},
        {"ill": 4, "well": 4},
        {"ill": 4, "well": 4},
    ]
    groups = [{patients[path] for path in part} for part in found]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 10


@pytest.mark.parametrize("suffix", ["txt", "csv"])
def test_a_list_without_a_heading(suffix, split, tmp_path):
    blank = "," if suffix == "csv" else " "
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for number in range(5):
            (tmp_path / folder / f"my photo {number}.jpg").write_text(folder)
    lines = [f"{folder}/my photo {number}.jpg{blank}{label}" for folder, label in ("a0", "b1") for number in range(5)]
    (tmp_path / f"all.{suffix}").write_text("\n".join(lines) + "\n")
    assert split(tmp_path / f"all.{suffix}", "mode=copy").status == 0
    copies = content(tmp_path / "out")
    assert Counter((Path(name).parts[0], Path(name).parts[1]) for name in copies) == {
        ("train", "0"): 4, ("train", "1"): 4, ("val", "0"): 1, ("val", "1"): 1
    }  # fmt: skip


def test_a_list_of_tabs_and_windows_separators(split, tmp_path):
    (tmp_path / "a").mkdir()
    for number in range(4):
        (tmp_path / "a" / f"{number}.jpg").write_text(str(number))
    lines = [f"a\\{number}.jpg\tMaine Coon\n" for number in range(4)]
    (tmp_path / "all.txt").write_text("".join(lines))
    finished = split(tmp_path / "all.txt", "mode=copy", "val=0.5")
    assert finished.status == 0, finished.err
    assert {Path(name).parts[1] for name in content(tmp_path / "out")} == {"Maine Coon"}


def test_files_of_one_name_in_a_class_are_kept_apart(split, tmp_path):
    for folder in "abcd":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "photo.jpg").write_text(folder)
    (tmp_path / "all.txt").write_text("".join(f"{folder}/photo.jpg cat\n" for folder in "abcd"))
    assert split(tmp_path / "all.txt", "mode=copy", "val=0.5").status == 0
    assert sorted(content(tmp_path / "out").values()) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("mode", ["list", "link", "copy", "move"])
def test_nothing_is_overwritten(mode, split, flowers, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    before = content(tmp_path)
    finished = split(flowers, f"mode={mode}")
    assert finished.status == 2
    assert finished.err == f"error: output_dir={tmp_path}/out: is there already; nothing is overwritten\n"
    assert content(tmp_path) == before


@pytest.mark.parametrize("sizes", [[4] * 10, [1, 2, 3, 50], [7, 7, 7], [1] * 20])
@pytest.mark.parametrize(("val", "test"), [(0.1, 0.0), (0.2, 0.2), (0.0, 0.5), (0.45, 0.45)])
def test_parts_have_their_shares_of_all_and_of_each_class(sizes, val, test):
    labels = [f"c{label}" for label, size in enumerate(sizes) for _ in range(size)]
    parts = split_samples(labels, {"val": val, "test": test}, seed=3)
    for label, size in zip(dict.fromkeys(labels), sizes, strict=True):
        counts = Counter(part for part, own in zip(parts, labels, strict=True) if own == label)
        assert counts["train"] >= 1
        assert counts["val"] <= size * val + 2
        assert counts["test"] <= size * test + 1
    # Where a class has no sample to spare for training, it takes one from the other parts.
    if min(sizes) * (1 - val - test) >= 1:
        assert abs(parts.count("val") - val * len(labels)) <= 1.5
        assert abs(parts.count("test") - test * len(labels)) <= 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["val=0.6", "test=0.4"], "val=0.6: must be such that val and test (here 0.4) are in (0, 1) together"),
        (["val=0"], "val=0: must be such that"),
        (["val=2"], "val=2: must be a number >= 0 and < 1"),
        (["mode=steal"], "mode=steal: must be one of list, link, copy, move"),
        (["seed=-1"], "seed=-1: must be an integer >= 0"),
        (["group_pattern='('"], "group_pattern=(: must be a regular expression"),
        (["group_pattern=nothing"], "group_pattern=nothing: is not in the path "),
        (["group_column=patient"], "group_column=patient: needs a CSV file"),
        (["group_column=patient", "group_pattern=x"], "group_column=patient: must be null where"),
        (["group_pattern=5"], "group_pattern=5: must be a text, or null"),
        (["group_column=[a]"], "group_column=[a]: must be a text, or null"),
        (["output_dir=/proc/x"], "output_dir=/proc/x: cannot be written: "),
        (["output_dir=flowers/out"], "output_dir=flowers/out: must not lie inside source="),
        (["source=nowhere"], "source=nowhere: there is no such folder or file"),
        (["source=null"], "source: is missing"),
        (["+sead=1"], "sead: there is no such key. Did you mean 'seed'?"),
    ],
)
def test_wrong_input_is_one_message(arguments, message, split, flowers, tmp_path):
    finished = split(flowers, *arguments)
    assert finished.status == 2
    assert finished.err.startswith(f"error: {message}")
    assert finished.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "one.jpg cat\ntwo.jpg cat\n", "2 of its images are not there: one.jpg, two.jpg; paths are relative"),
        ("a.txt", "one.jpg\n", "row 1 is no path with a label: 'one.jpg'"),
        ("a.txt", "", "is empty"),
        ("a.csv", "path,label\n", "has a heading and nothing else"),
        ("a.csv", "here.jpg,..\n", "the label '..' cannot be the name of a folder"),
        ("a.csv", "\xff\xfe", "cannot be read"),
    ],
)
def test_lists_that_cannot_be_split(name, text, message, split, tmp_path):
    (tmp_path / "here.jpg").write_text("")
    (tmp_path / name).write_bytes(text.encode("latin1"))
    finished = split(tmp_path / name)
    assert finished.status == 2
    assert finished.err.startswith(f"error: source={tmp_path / name}: {message}")


@pytest.mark.parametrize("mode", ["list", "copy"])
def test_a_full_disk_is_told_by_the_place_that_is_full(mode, split, flowers, tmp_path, monkeypatch):
    def full(source, *arguments, **options):
        raise OSError(28, "No space left on device", str(source))

    monkeypatch.setattr("shutil.copy2", full)
    monkeypatch.setattr("hookline.commands.split_data.write_table", full)
    finished = split(flowers, f"mode={mode}")
    assert finished.status == 2
    assert finished.err == f"error: output_dir={tmp_path}/out: cannot be written: No space left on device\n"


def test_names_that_are_no_text_can_be_linked_and_not_listed(split, flowers, tmp_path):
    (flowers / "rose" / os.fsdecode(b"\xe9.jpg")).write_text("latin")
    finished = split(flowers)
    assert finished.status == 2
    assert finished.err.startswith("error: mode=list: a list is UTF-8, and this name is not: ")
    assert split(flowers, "mode=link").status == 0
    assert len(list((tmp_path / "out").glob(os.fsdecode(b"*/rose/\xe9.jpg")))) == 1


def test_what_is_split_already_is_not_split_again(split, flowers, tmp_path):
    assert split(flowers, "mode=copy").status == 0
    finished = split(tmp_path / "out", f"output_dir={tmp_path}/again")
    assert finished.status == 2
    assert "is split already: it has train, val" in finished.err
