"""Checkpoint files are whole, and what is not is found out."""

from __future__ import annotations

import os

import pytest
import torch

from hookline import checkpoint
from hookline.checkpoint import CheckpointError, CheckpointFolder, read, write

CONTENT = {
    "format": 2,
    "parts": {"model": {"weight": torch.arange(5000.0).view(50, 100), "empty": torch.empty(0)}, "rows": [{"a": 1.5}]},
    "config": "seed: 0\n",
    "nothing": None,
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoints" / "iter_00000007.pt"
    write(path, CONTENT)
    return path


def test_what_was_written_is_read(path):
    found = read(path)
    assert torch.equal(found["parts"]["model"]["weight"], CONTENT["parts"]["model"]["weight"])
    assert {**found, "parts": None} == {**CONTENT, "parts": None}
    assert os.listdir(path.parent) == [path.name]


def test_torch_opens_it_safely(path):
    assert torch.load(path, weights_only=True)["config"] == "seed: 0\n"


def test_a_flipped_bit_is_found_wherever_it_is(path):
    good = path.read_bytes()
    for place in [*range(0, len(good), 997), *range(len(good) - 60, len(good))]:
        damaged = bytearray(good)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=str(path)):
            read(path)
    path.write_bytes(good)
    read(path)


def test_torch_itself_takes_a_flipped_bit_in_silence(path):
    # The reason for the checksum: the day this fails, torch checks by itself.
    damaged = bytearray(path.read_bytes())
    place = damaged.find(CONTENT["parts"]["model"]["weight"].numpy().tobytes()[:400])
    damaged[place + 200] ^= 1
    path.write_bytes(damaged)
    found = torch.load(path, weights_only=True)["parts"]["model"]["weight"]
    assert not torch.equal(found, CONTENT["parts"]["model"]["weight"])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("tail", ["gone", "zeros"])
def test_a_file_that_was_not_written_to_its_end_is_found(path, share, tail):
    good = path.read_bytes()
    kept = good[: int(share * len(good))]
    path.write_bytes(kept + (b"\0" * (len(good) - len(kept)) if tail == "zeros" else b""))
    with pytest.raises(CheckpointError, match="truncated, damaged, or no checkpoint"):
        read(path)


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "of torch"])
def test_what_is_no_checkpoint_is_told(tmp_path, kind):
    path = tmp_path / "x.pt"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("hello " * 100)
    elif kind == "of torch":
        torch.save({"a": 1}, path)
    with pytest.raises(CheckpointError, match=str(path)):
        read(path)


def test_code_in_a_file_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    write(tmp_path / "x.pt", {"a": Harmful()})
    with pytest.raises(CheckpointError, match="cannot be read"):
        read(tmp_path / "x.pt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("fails", ["save", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(path, fails, monkeypatch):
    before = path.read_bytes()

    def fail(*arguments, **options):
        raise OSError("no space left on device")

    monkeypatch.setattr(*{"save": (torch, "save"), "fsync": (os, "fsync"), "replace": (os, "replace")}[fails], fail)
    with pytest.raises(OSError, match="no space"):
        write(path, {"a": 2})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def folder_with(tmp_path, *iterations: int) -> CheckpointFolder:
    folder = CheckpointFolder(tmp_path / "checkpoints")
    for number in iterations:
        write(folder.path(number), {"iter": number})
        folder.link("last.pt", folder.path(number))
    return folder


def test_the_newest_is_found_by_its_number(tmp_path):
    folder = folder_with(tmp_path, 9, 100, 20)
    path, content = folder.newest()
    assert (path, content) == (folder.path(100), {"iter": 100})
    assert CheckpointFolder(tmp_path / "nothing").newest() is None


@pytest.mark.parametrize("damage", [lambda b: b[:-7], lambda b: b"\0" * len(b), lambda b: b[:99] + b"?" + b[100:]])
def test_a_damaged_one_is_named_and_the_next_is_taken(tmp_path, damage, caplog):
    folder = folder_with(tmp_path, 1, 2, 3)
    newest = folder.path(3)
    newest.write_bytes(damage(newest.read_bytes()))
    assert folder.newest() == (folder.path(2), {"iter": 2})
    assert str(newest) in caplog.text


def test_when_all_are_damaged_it_says_so(tmp_path):
    folder = folder_with(tmp_path, 1, 2)
    for path in folder.folder.iterdir():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="holds no checkpoint that can be read"):
        folder.newest()


def test_a_link_is_no_copy_and_outlives_its_file(tmp_path):
    folder = folder_with(tmp_path, 1)
    folder.link("best.pt", folder.path(1))
    best = folder.folder / "best.pt"
    assert best.stat().st_ino == folder.path(1).stat().st_ino
    write(folder.path(2), {"iter": 2})
    folder.prune(1)
    assert [path.name for path in folder.all()] == ["iter_00000002.pt"]
    assert checkpoint.read(best) == {"iter": 1}


def test_a_link_falls_back_to_a_copy(tmp_path, monkeypatch):
    def no_links(*arguments):
        raise OSError("operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    folder = folder_with(tmp_path, 5)
    assert read(folder.folder / "last.pt") == {"iter": 5}


@pytest.mark.parametrize(("keep", "left"), [(1, [4]), (2, [4, 3]), (9, [4, 3, 2, 1]), (-1, [4, 3, 2, 1])])
def test_pruning_keeps_the_newest(tmp_path, keep, left):
    folder = folder_with(tmp_path, 1, 2, 3, 4)
    folder.prune(keep)
    assert [read(path)["iter"] for path in folder.all()] == left


def test_what_a_killed_write_left_is_swept_away(tmp_path):
    folder = folder_with(tmp_path, 1)
    (folder.folder / ".iter_00000002.pt.4711").write_bytes(b"half")
    assert folder.newest() == (folder.path(1), {"iter": 1})
    folder.sweep()
    assert sorted(os.listdir(folder.folder)) == ["iter_00000001.pt", "last.pt"]
