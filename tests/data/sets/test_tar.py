"""Tar files: WebDataset's shards and packed folders, indexed once."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from tests.images import encoded, picture

from hookline.config.errors import ConfigError
from hookline.data import Tar, decode


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def packed(*numbers: int, prefix: str = "") -> dict[str, bytes]:
    """Return the members of a packed folder, a class for even and one for odd numbers."""
    return {f"{prefix}{'odd' if n % 2 else 'even'}/{n}.jpg": encoded(picture(n)) for n in numbers}


def shard(*numbers: int, kind: str = "cls") -> dict[str, bytes]:
    """Return the members of a shard of a WebDataset."""
    members = {}
    for n in numbers:
        label = str(n % 2).encode() if kind == "cls" else json.dumps({"label": n % 2, "width": 24}).encode()
        members |= {f"./{n:06d}.jpg": encoded(picture(n)), f"./{n:06d}.{kind}": label}
    return members


def both(root: Path, **options) -> tuple[Tar, Tar]:
    train, val = (Tar(split=split, root=str(root), **options) for split in ("train", "val"))
    train.check()
    val.check()
    return train, val


@pytest.mark.parametrize("kind", ["cls", "json"])
def test_webdataset(tmp_path, kind):
    write_tar(tmp_path / "train-000.tar", shard(0, 1, 2, kind=kind))
    write_tar(tmp_path / "train-001.tar", shard(3, 4, kind=kind))
    write_tar(tmp_path / "val-000.tar", shard(5, 6, kind=kind))
    train, val = both(tmp_path)
    assert train.classes == ("0", "1")
    assert (train.targets.tolist(), val.targets.tolist()) == ([0, 1, 0, 1, 0], [1, 0])
    for index in (4, 0, 3):
        assert torch.equal(train.read(index), decode(encoded(picture(index))))
    assert train.name_of(3) == f"{tmp_path}/train-001.tar: 000003.jpg"


@pytest.mark.parametrize("prefix", ["", "./", "images/"])
def test_packed_folders(tmp_path, prefix):
    write_tar(tmp_path / "train.tar", packed(*range(6), prefix=prefix))
    write_tar(tmp_path / "val.tar", packed(7, 8, prefix=prefix))
    train, val = both(tmp_path)
    assert train.classes == ("even", "odd")
    assert val.targets.tolist() == [1, 0]
    assert torch.equal(val.read(0), decode(encoded(picture(7))))


def test_a_part_is_held_out(tmp_path):
    write_tar(tmp_path / "all.tar", packed(*range(20)))
    train, val = both(tmp_path, train="all.tar", val=None)
    assert (train.class_counts.tolist(), val.class_counts.tolist()) == ([8, 8], [2, 2])
    assert not {train.name_of(i) for i in range(16)} & {val.name_of(i) for i in range(4)}
    for source in (train, val):
        for index in range(len(source)):
            number = int(Path(source.name_of(index)).stem)
            assert torch.equal(source.read(index), decode(encoded(picture(number))))


def test_an_index_is_made_once(tmp_path, monkeypatch):
    write_tar(tmp_path / "train.tar", packed(*range(4)))
    write_tar(tmp_path / "val.tar", packed(4, 5))
    first = both(tmp_path)[0]
    images = [first.read(index) for index in range(4)]
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", None)
        again = both(tmp_path)[0]
        assert all(torch.equal(again.read(index), image) for index, image in enumerate(images))
        assert again.fingerprint() == first.fingerprint()
    # It is made anew for a tar file that has changed, and where it is damaged.
    write_tar(tmp_path / "train.tar", packed(*range(6)))
    assert len(both(tmp_path)[0]) == 6
    assert both(tmp_path)[0].fingerprint() != first.fingerprint()
    for index in tmp_path.glob("*.json"):
        index.write_text("[")
    assert len(both(tmp_path)[0]) == 6


def test_two_runs_that_index_at_once(tmp_path):
    for number in range(4):
        write_tar(tmp_path / f"train-{number}.tar", packed(*range(10 * number, 10 * number + 10)))
    write_tar(tmp_path / "val.tar", packed(50, 51))
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if len(both(tmp_path)[0]) == 40 else 1)
        finally:
            os._exit(2)
    assert len(both(tmp_path)[0]) == 40
    assert os.waitpid(pid, 0)[1] == 0
    assert sorted(path.name for path in tmp_path.iterdir() if "tmp" in path.name or path.name.startswith(".")) == []
    assert len(both(tmp_path)[0]) == 40


def test_the_index_may_lie_elsewhere(tmp_path):
    write_tar(tmp_path / "one" / "train.tar", packed(0, 1))
    write_tar(tmp_path / "one" / "val.tar", packed(2, 3))
    write_tar(tmp_path / "two" / "train.tar", packed(0, 1, 2, 3))
    write_tar(tmp_path / "two" / "val.tar", packed(4))
    lengths = [len(both(tmp_path / name, index_dir=str(tmp_path / "index"))[0]) for name in ("one", "two", "one")]
    assert lengths == [2, 4, 2]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["train.tar", "val.tar"]


def test_threads_and_other_processes(tmp_path):
    write_tar(tmp_path / "train.tar", packed(*range(20)))
    write_tar(tmp_path / "val.tar", packed(20, 21))
    train, _ = both(tmp_path)
    alone = [train.read(index) for index in range(20)]
    there = pickle.loads(pickle.dumps(train))
    with ThreadPoolExecutor(4) as pool:
        for images in (list(pool.map(train.read, range(20))), list(pool.map(there.read, range(20)))):
            assert all(torch.equal(a, b) for a, b in zip(alone, images, strict=True))


def test_names_of_classes(tmp_path):
    write_tar(tmp_path / "train.tar", shard(0, 1))
    write_tar(tmp_path / "val.tar", shard(2))
    (tmp_path / "names.txt").write_text("even\nodd\n")
    assert both(tmp_path, class_names=str(tmp_path / "names.txt"))[0].classes == ("even", "odd")


def refused(root: Path, **options) -> str:
    with pytest.raises(ConfigError) as caught:
        both(root, **options)
    return str(caught.value)


def test_what_cannot_be_read_is_told(tmp_path):
    assert "data.train=train*.tar: there is no such file in data.root=" in refused(tmp_path)
    tar = write_tar(tmp_path / "train.tar", packed(0, 1, 2))
    assert "data.val=val*.tar: there is no such file" in refused(tmp_path)
    assert "with data.val=null a part of the training images validates" in refused(tmp_path)
    write_tar(tmp_path / "val.tar", packed(3), mode="w:gz")
    assert "val.tar cannot be read as a tar file that is not compressed" in refused(tmp_path)
    write_tar(tmp_path / "val.tar", {"eel/1.jpg": encoded(picture())})
    assert "labels that are no class of training: 'eel'" in refused(tmp_path)
    write_tar(tmp_path / "val.tar", {"readme.txt": b"none"})
    assert "there are no images in these tar files" in refused(tmp_path)
    write_tar(tmp_path / "val.tar", packed(3) | {"even/5.cls": b"1"})
    assert "has no label (.cls, or .json with label or cls) of odd/3.jpg" in refused(tmp_path)
    write_tar(tmp_path / "val.tar", packed(3))
    tar.write_bytes(tar.read_bytes()[:2000])
    assert "train.tar cannot be read" in refused(tmp_path)
    tar.write_bytes(b"")
    assert "train.tar cannot be read" in refused(tmp_path)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"1.jpg": b"", **packed(0, 1)}, "1.jpg lies in no folder and has no .cls or .json, so no label"),
        ({"../../evil.jpg": b"", **packed(0, 1)}, "../../evil.jpg lies in no folder"),
        ({"1.jpg": b"", "1.json": b'{"label": null}'}, "has no label (.cls, or .json with label or cls) of 1.jpg"),
        (packed(0, 2), "Tar has the class 'even' only; there must be two or more"),
    ],
)
def test_images_without_a_class_are_told(tmp_path, members, told):
    write_tar(tmp_path / "train.tar", members)
    write_tar(tmp_path / "val.tar", packed(3))
    assert told in refused(tmp_path)


def test_a_damaged_header_is_no_end(tmp_path):
    tar = write_tar(tmp_path / "train.tar", packed(*range(6)))
    write_tar(tmp_path / "val.tar", packed(7))
    content = bytearray(tar.read_bytes())
    place = content.index(b"odd/3.jpg")
    content[place : place + 512] = b"?" * 512
    tar.write_bytes(content)
    assert f"it is damaged: what stands at byte {place} is neither a header nor the end" in refused(tmp_path)


@pytest.mark.parametrize("pattern", ["", "/etc/*.tar", "."])
@pytest.mark.parametrize("split", ["train", "val"])
def test_patterns_that_are_none(tmp_path, split, pattern):
    write_tar(tmp_path / "train.tar", packed(0, 1))
    write_tar(tmp_path / "val.tar", packed(2, 3))
    told = refused(tmp_path, **{split: pattern})
    assert told.startswith((f"data.{split}={pattern}: must be a pattern", f"data.{split}={pattern}: there is no such"))


@pytest.mark.parametrize("change", [{"names": None}, {"labels": ["a"]}, {"offsets": ["0", "1"]}, {"more": 1}])
def test_an_index_of_other_fields_is_made_anew(tmp_path, change):
    write_tar(tmp_path / "train.tar", packed(0, 1))
    write_tar(tmp_path / "val.tar", packed(2, 3))
    both(tmp_path)
    for index in tmp_path.glob("*.index.json"):
        index.write_text(json.dumps(json.loads(index.read_text()) | change))
    assert both(tmp_path)[0].class_counts.tolist() == [1, 1]


def test_the_files_that_a_cache_depends_on_are_the_tar_files(tmp_path):
    write_tar(tmp_path / "train.tar", packed(*range(4)))
    write_tar(tmp_path / "val.tar", packed(4, 5))
    train, val = both(tmp_path)
    assert (list(train.files()), list(val.files())) == ([str(tmp_path / "train.tar")], [str(tmp_path / "val.tar")])
