"""A cache gives the images that the source gives, small, and is made once, whatever happens on the way."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import ROOT
from tests.images import Photos, picture, write_folder

from hookline.config.errors import ConfigError, ParameterError
from hookline.data import Digits, ImageFolder
from hookline.data.cache import CachedSource, shrunk


@pytest.fixture
def photos(tmp_path):
    return Photos(
        split="train",
        root=str(write_folder(tmp_path / "photos", {"cat": 5, "dog": 4}, size=(80, 60), name="{:03}.jpg")),
    )


@pytest.fixture
def cached(tmp_path):
    """Return a function: a cache of a source, in the test's folder."""

    def make(source, cache="raw", cache_size=32, **options) -> CachedSource:
        return CachedSource(source, cache=cache, cache_dir=tmp_path / "caches", cache_size=cache_size, **options)

    return make


def whole_ones(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "caches").iterdir() if path.is_dir())


def psnr(image: torch.Tensor, other: torch.Tensor) -> float:
    return float(10 * torch.log10(255**2 / (image.float() - other.float()).square().mean()))


def test_a_raw_cache_has_the_small_images_exactly(photos, cached):
    source = cached(photos)
    assert (len(source), source.classes, source.targets.tolist()) == (9, photos.classes, photos.targets.tolist())
    for index in range(9):
        assert source.name_of(index) == photos.name_of(index)
        assert source.read(index).shape == (3, 32, 43)
        assert torch.equal(source.read(index), shrunk(photos.read(index), 32))


def test_a_jpeg_cache_has_them_nearly_and_takes_less(photos, cached, tmp_path):
    raw, jpeg = cached(photos), cached(photos, "jpeg")
    values = [psnr(raw.read(index), jpeg.read(index)) for index in range(9)]
    assert min(values) > 30
    sizes = [(folder / "images.bin").stat().st_size for folder in whole_ones(tmp_path)]
    assert min(sizes) < max(sizes) / 2


def test_small_images_are_kept_as_they_are(photos, cached):
    source = cached(photos, cache_size=60)
    assert torch.equal(source.read(3), photos.read(3))


def test_grey_images_are_cached_too(cached):
    digits = Digits(split="val")
    for kind in ("raw", "jpeg"):
        source = cached(digits, kind, cache_size=4)
        assert source.image_size == (4, 4)
        assert source.read(7).shape == (1, 4, 4)
    assert torch.equal(cached(digits).read(7), digits.read(7))


def test_the_source_is_read_once_for_all_runs(photos, cached):
    cached(photos).check()
    photos.reads.clear()
    again = cached(photos)
    again.check()
    assert again.read(8).shape == (3, 32, 43)
    assert photos.reads == []


@pytest.mark.parametrize("change", ["time", "size", "another size", "settings", "kind", "removed"])
def test_another_cache_is_made_where_something_is_another(change, photos, cached, tmp_path):
    cached(photos).check()
    options = {}
    if change == "time":
        os.utime(photos.paths[2], ns=(1, 1))
    elif change == "size":
        stat = photos.paths[2].stat()
        picture(77, (80, 60)).save(photos.paths[2], quality=30)
        os.utime(photos.paths[2], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif change == "removed":
        photos.paths.pop()
    else:
        options = {
            "another size": {"cache_size": 16},
            "settings": {"settings": "radius: 3"},
            "kind": {"cache": "jpeg"},
        }[change]
    cached(photos, **options).check()
    assert len(whole_ones(tmp_path)) == 2


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        *(("images.bin", damage) for damage in ("shorter", "longer", "gone")),
        *(("index.npz", damage) for damage in ("shorter", "gone", "other bytes")),
    ],
)
def test_a_damaged_cache_is_noticed_and_made_anew(file, damage, photos, cached, tmp_path, caplog):
    source = cached(photos)
    expected = [source.read(index).clone() for index in range(9)]
    (folder,) = whole_ones(tmp_path)
    path = folder / file
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "other bytes":
        middle = content.index(b"NUMPY") + 200  # in the numbers of the first array
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        path.write_bytes(content[:-7] if damage == "shorter" else content + b"more of it")
    again = cached(photos)
    assert all(torch.equal(again.read(index), image) for index, image in enumerate(expected))
    assert "is damaged and is made anew" in caplog.text
    assert path.read_bytes() == content


def test_what_a_killed_run_left_is_removed(photos, cached, tmp_path):
    source = cached(photos)
    half = source.cache_dir / f".{source.folder.name}.k3x9" / "whole"
    half.mkdir(parents=True)
    (half / "images.bin").write_bytes(b"half of it")
    source.check()
    assert whole_ones(tmp_path) == [source.folder]


KILLED = """
import os, signal, sys
from tests.conftest import ROOT
from tests.images import Photos
from hookline.data.cache import CachedSource

class Deadly(Photos):
    def read(self, index):
        if len(self.reads) > 12:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(index)

Deadly.__name__ = Deadly.__qualname__ = "Photos"
Deadly.__module__ = "tests.images"
source = Deadly(split="train", root=sys.argv[1])
CachedSource(source, cache_dir=sys.argv[2], cache_size=32, threads=1).check()
"""


def test_a_run_that_is_killed_stands_in_nobodys_way(photos, cached, tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "photos"), str(tmp_path / "caches")]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (half,) = whole_ones(tmp_path)
    source = cached(photos)
    assert half.name.startswith(f".{source.folder.name}.")
    source.check()
    assert whole_ones(tmp_path) == [source.folder]
    assert torch.equal(source.read(5), shrunk(photos.read(5), 32))


def test_a_failure_on_the_way_leaves_nothing(photos, cached, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(ConfigError, match=r"^data\.cache_dir=.* cannot be written: No space left"):
        cached(photos).check()
    assert whole_ones(tmp_path) == []


@pytest.mark.parametrize("place", ["/dev/null", "/proc/x", "file", "file/below"])
def test_a_place_that_cannot_be_written_to_is_told(photos, tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^data\.cache_dir=.* cannot be written: "):
        CachedSource(photos, cache_dir=tmp_path / place).check()


def test_names_that_are_no_text_can_be_cached(tmp_path, cached):
    root = write_folder(tmp_path / "photos", name=os.fsdecode(b"\xe9{}.jpg"))
    source = cached(ImageFolder(split="train", root=str(root)))
    assert source.read(0).shape == (3, 16, 24)


def test_two_runs_at_once_make_one_cache(photos, cached, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    first, second = cached(photos), cached(photos)
    began, going = [], photos.read
    with ThreadPoolExecutor(1) as pool:

        def read(index):
            if not began:
                began.append(pool.submit(second.check))
                while "this one waits for it" not in caplog.text:  # the second has found the lock taken
                    assert not began[0].done()
            return going(index)

        # The first read of the one that makes the cache, which holds the lock by then, starts the other.
        photos.read = read
        first.check()
        began[0].result()
    assert len(whole_ones(tmp_path)) == 1
    assert torch.equal(first.read(0), second.read(0))
    assert caplog.text.count("made in") == 1


def test_several_threads_read_what_one_reads(photos, cached):
    for kind in ("raw", "jpeg"):
        source = cached(photos, kind)
        expected = [source.read(index).clone() for index in range(9)]
        fresh = cached(photos, kind)
        with ThreadPoolExecutor(8) as pool:
            read = list(pool.map(fresh.read, [index % 9 for index in range(200)]))
        assert all(torch.equal(image, expected[number % 9]) for number, image in enumerate(read))


def test_a_worker_process_can_take_it_along(photos, cached):
    source = cached(photos)
    before = source.read(4)
    there = pickle.loads(pickle.dumps(source))
    assert torch.equal(there.read(4), before)


def test_an_image_changed_in_place_does_not_reach_the_file(photos, cached):
    image = cached(photos).read(0)
    before = image.clone()
    image.zero_()
    assert torch.equal(cached(photos).read(0), before)


@pytest.mark.parametrize("result", [torch.zeros(3, 8, 8), None, torch.zeros(8, 8, 3, dtype=torch.uint8)])
def test_what_is_no_image_is_not_cached(photos, cached, monkeypatch, result):
    monkeypatch.setattr(photos, "read", lambda index: result)
    told = r"none of the images can be read; of the first: .*000\.jpg: Photos\.read must return"
    with pytest.raises(ConfigError, match=told):
        cached(photos).check()


def test_a_broken_image_says_why_at_each_read_and_the_others_are_cached(photos, cached, caplog):
    photos.paths[3].write_bytes(b"no image")
    source = cached(photos)
    source.check()
    assert "1 images cannot be read" in caplog.text
    assert "003.jpg" in caplog.text
    assert source.read(4).shape == (3, 32, 43)
    for _ in range(2):
        with pytest.raises(OSError, match=r"003\.jpg"):
            source.read(3)


def test_no_image_that_can_be_read_is_an_error(photos, cached, tmp_path):
    for path in photos.paths:
        path.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"none of the images can be read.*000\.jpg"):
        cached(photos).check()
    assert whole_ones(tmp_path) == []


def test_it_tells_its_size_and_refuses_where_the_disk_has_no_room(photos, cached, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=20_000))
    with pytest.raises(ConfigError, match=r"data\.cache_dir=.*takes about 37\.2kB, and the disk has 20\.0kB left"):
        cached(photos).check()
    assert whole_ones(tmp_path) == []
    monkeypatch.undo()
    cached(photos).check()
    (folder,) = whole_ones(tmp_path)
    assert (folder / "images.bin").stat().st_size == 9 * 3 * 32 * 43 == 37152
    assert "about 37.2kB" in caplog.text


def test_wrong_settings_are_told(photos, cached):
    for options in ({"cache": "png"}, {"cache_size": 0}, {"cache_size": 2.5}):
        with pytest.raises(ParameterError, match=next(iter(options))):
            cached(photos, **options)
    photos.channels = 4
    with pytest.raises(ParameterError, match="cache='jpeg': must be raw"):
        cached(photos, "jpeg")


def test_a_run_trains_from_it(train, tmp_path):
    write_folder(tmp_path / "photos" / "train", {"cat": 6, "dog": 6}, size=(40, 40), name="{:03}.jpg")
    write_folder(tmp_path / "photos" / "val", {"cat": 2, "dog": 2}, first=12, size=(40, 40), name="{:03}.jpg")
    arguments = (
        *("data._target_=tests.images.Photos", f"+data.root={tmp_path}/photos", "data.batch_size=4"),
        *("data.transforms.resize=null", "data.cache_size=32", f"data.cache_dir={tmp_path}/caches"),
        *("runner.max_epochs=1", "logger=none", "checkpoint=none", "hooks.lr_curve=null"),
    )
    finished = train(*arguments, "data.cache=raw")
    assert finished.status == 0, finished.err
    assert len(whole_ones(tmp_path)) == 2
    assert "data: Photos, 12 images of 2 classes" in finished.out
    finished = train(*arguments, "data.cache=png")
    assert (finished.status, finished.err) == (2, "error: data.cache=png: must be one of none, raw, jpeg\n")
    finished = train(*arguments, "data.cache=raw", "data.cache_size=0")
    assert (finished.status, finished.err) == (2, "error: data.cache_size=0: must be an integer > 0\n")
